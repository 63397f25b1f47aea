"""Pages of one HTML file that need nothing beside them: the report, and one that takes labels."""

import base64
import io
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from ..core.outputs import mark_of
from ..core.repeats import seeds_of
from ..data.reading import UnreadableAudio, read_mono
from ..encoders.trained import git_commit, versions
from . import words
from .findings import best_over_tasks
from .names import counted, short_label
from .published import PUBLISHED_NOTE
from .runs import plain
from .table import score_table

TEMPLATES = Environment(
    loader=PackageLoader("unfused.reporting", "templates"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    finalize=lambda value: value.replace(" %", "\xa0%") if isinstance(value, str) else value,
)
_RATE, _PEAK = 16_000, 0.9  # of clips to listen to
_LONGEST, _LISTED = 60, 20  # characters of a name, rejected files
_DETAILS = r"[:(].*|(?<=duplicate) of.*"  # what differs between files rejected for one reason


@dataclass(frozen=True)
class ReportContent:
    """Everything the report shows; what is empty is left out.

    Findings and comparisons are those of :mod:`.findings`, the summary that of :mod:`.summary`, the
    parameters typed or not. ``of_tasks`` is task -> ``confusion`` and ``clusters`` -> PNG, and
    ``figures`` name -> PNG of ``learning_curves``, ``label_efficiency_curves`` and
    ``augmentation_views``. Quality has a row for each clustering, the data card for each corpus and
    fold, and rejected files have ``corpus, path, stage, reason``.
    """

    findings: Sequence[Mapping[str, Any]]
    summary: pd.DataFrame
    comparisons: pd.DataFrame
    parameters: Mapping[str, Any]
    of_tasks: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    figures: Mapping[str, bytes] = field(default_factory=dict)
    quality: pd.DataFrame = field(default_factory=pd.DataFrame)
    data_card: pd.DataFrame = field(default_factory=pd.DataFrame)
    rejected: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def closing(self) -> str:
        """Three sentences for the end of the run."""
        return words.closing_words(self.findings, best_over_tasks(self.summary))

    @property
    def facts(self) -> dict[str, Any]:
        """What was run, name -> value."""
        given = plain(self.parameters)
        tried = (given.get("report") or {}).get("configurations_tried")
        return {
            "seeds": ", ".join(map(str, seeds_of(given["run"]["seeds"]))),
            "device": given["run"]["device"],
            "code": git_commit() or "not a git checkout",
            "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
            **({"configurations tried, this one included": tried} if tried else {}),
        }


def render_report(content: ReportContent) -> str:
    """Return the report as one self-contained HTML page; all text is escaped."""
    return _rendered(
        "report.html",
        content=content,
        title="UnFuSeD: " + ", ".join(found["task"] for found in content.findings),
        words=words,
        counted=counted,
        short=lambda text: short_label(text, _LONGEST),
        heard=heard,
        picture=_picture,
        text=_text,
        scores=score_table(content.summary),
        published_note=PUBLISHED_NOTE,
        reasons=_reasons(content.rejected),
        listed=content.rejected.head(_LISTED),
        parameters=json.dumps(plain(content.parameters), indent=2, ensure_ascii=False),
    )


def label_page(clips: pd.DataFrame, classes: Sequence[str], *, title: str, note: str) -> str:
    """Return a page as HTML that plays clips and takes labels, also others than the classes.

    Clips have a path, start, end (seconds; NaN: that of the file), sample_rate, words on each, and
    seconds, where it ends in any case.
    """
    shown = []
    for clip in clips.to_dict("records"):
        rate, seconds = int(clip["sample_rate"]), clip["seconds"] - clip["start"]
        place = {"offset": round(clip["start"] * rate), "frames": max(1, round(seconds * rate))}
        shown.append(heard({**clip, **place, "clip_id": ""}, seconds=seconds))
    rows = clips[["path", "start", "end"]].astype(object)
    rows = rows.where(rows.notna(), "")
    key, known = f"labels-{mark_of(clips=rows)}", {"title": title, "note": note, "clips": shown}
    records = rows.to_dict("records")
    return _rendered("label_page.html", classes=list(classes), rows=records, key=key, **known)


def heard(clip: Mapping[str, Any], *, seconds: float = 3.0) -> dict[str, Any]:
    """Return a clip with ``sound``, the data address of its beginning, and ``file``, its name.

    It is made to peak just below 1, mono, at 16 kHz. ``sound`` is empty, and ``missing`` says why,
    where the file cannot be read any more. A clip has ``clip_id`` and, where known, ``path, offset,
    frames, sample_rate``.
    """
    if not clip.get("path"):
        return {**clip, "sound": "", "file": clip["clip_id"], "missing": "its file is not known"}
    known = {**clip, "file": Path(clip["path"]).name, "missing": ""}
    frames = min(int(clip["frames"]), max(1, int(seconds * clip["sample_rate"])))
    try:
        samples = read_mono(
            clip["path"], offset=int(clip["offset"]), frames=frames, sample_rate=_RATE
        )
    except UnreadableAudio as error:  # moved or damaged since its log-mel was made
        return {**known, "sound": "", "missing": str(error)}
    samples = samples * (_PEAK / max(1e-6, float(np.abs(samples).max())))
    file = io.BytesIO()
    soundfile.write(file, samples, _RATE, format="FLAC", subtype="PCM_16")
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return {**known, "sound": f"data:audio/flac;base64,{data}"}


def _rendered(template: str, **shown: Any) -> str:
    page = TEMPLATES.get_template(template).render(**shown)
    return page.encode("utf-8", "replace").decode("utf-8")  # file names need not be valid text


def _text(value: Any) -> str:
    """Return a cell of a table in one line.

    >>> _text(0.12345), _text(1234.0), _text([3, 4]), _text(float("nan")), _text(None)
    ('0.123', '1,234', '3, 4', '', '')
    """
    if hasattr(value, "__len__") and not isinstance(value, str):
        return ", ".join(map(str, value))
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, float | int) and not isinstance(value, bool):
        return format(value, ",.0f" if abs(value) >= 1000 or value == int(value) else ".3g")
    return " ".join(str(value).split())


def _reasons(rejected: pd.DataFrame) -> pd.DataFrame:
    """Count rejected files by reason, without what differs from file to file."""
    if rejected.empty:
        return rejected
    reasons = rejected["reason"].astype(str).str.replace(_DETAILS, "", regex=True).str.strip()
    return reasons.value_counts().rename_axis("Reason").reset_index(name="Files").head(20)


def _picture(png: bytes, alt: str) -> Markup:
    """Return a figure's picture: never wider than drawn, on a narrow screen still readable."""
    width = struct.unpack(">I", png[16:20])[0]  # pixels; a figure has 160 an inch
    data = base64.b64encode(png).decode("ascii")
    least, most = f"{width * 0.38:.0f}px", f"{width * 0.625:.0f}px"
    return Markup(
        '<div class="scroll"><img alt="{}" style="width:clamp({},100%,{})" '
        'src="data:image/png;base64,{}"></div>'
    ).format(alt, least, most, data)
