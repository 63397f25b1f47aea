"""A page that plays clips and takes labels for them; it needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..core.outputs import mark_of
from .page import TEMPLATES
from .sounds import heard


def label_page(clips: pd.DataFrame, classes: Sequence[str], *, title: str, note: str) -> str:
    """Return the page as HTML; labels that are none of the classes can be typed.

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
    page = TEMPLATES.get_template("label_page.html").render(
        title=title,
        note=note,
        clips=shown,
        classes=list(classes),
        rows=rows.to_dict("records"),
        key=f"labels-{mark_of(clips=rows)}",
    )
    return page.encode("utf-8", "replace").decode("utf-8")  # file names need not be valid text
