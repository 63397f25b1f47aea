"""The report: one HTML file that needs nothing beside it, for a screen of any width and paper."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from ..core.repeats import seeds_of
from ..encoders.origin import git_commit, versions
from . import words
from .findings import best_over_tasks
from .names import counted, short_label
from .published import PUBLISHED_NOTE
from .runs import plain
from .sounds import heard
from .table import score_table

TEMPLATES = Environment(
    loader=PackageLoader("unfused.reporting", "templates"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    finalize=lambda value: value.replace(" %", "\xa0%") if isinstance(value, str) else value,
)
_LONGEST, _LISTED = 60, 20  # characters of a name, rejected files
_DETAILS = r"[:(].*|(?<=duplicate) of.*"  # what differs between files rejected for one reason


@dataclass(frozen=True)
class ReportContent:
    """Everything the report shows; what is empty is left out.

    Findings and comparisons are those of :mod:`.findings`, the summary that of :mod:`.summary`.

    Attributes:
        parameters: The resolved parameters, typed or not.
        of_tasks: Task -> ``confusion`` and ``clusters`` -> PNG.
        figures: Other figures, name -> PNG: ``learning_curves, label_efficiency_curves,
            augmentation_views``.
        quality: One row per clustering.
        data_card: One row per corpus and fold.
        rejected: Rejected files: ``corpus, path, stage, reason``.
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
    page = TEMPLATES.get_template("report.html").render(
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
    return page.encode("utf-8", "replace").decode("utf-8")  # file names need not be valid text


def _text(value: Any) -> str:
    """Return a cell of a table in one line.

    >>> _text(0.12345), _text(1234.0), _text([3, 4]), _text(float("nan")), _text(None)
    ('0.123', '1,234', '3, 4', '', '')
    """
    if hasattr(value, "__len__") and not isinstance(value, str):
        return ", ".join(map(str, value))
    if isinstance(value, str) or value is None or value != value:  # NaN
        return " ".join(value.split()) if isinstance(value, str) else ""
    if isinstance(value, float | int) and not isinstance(value, bool):
        return format(value, ",.0f" if abs(value) >= 1000 or value == int(value) else ".3g")
    return str(value)


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
