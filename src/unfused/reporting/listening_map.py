"""A map of clips to point at and to listen to: one page of HTML that needs nothing beside it."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from string import Template

import numpy as np
import pandas as pd

from ..core.errors import UserError
from ..data.reading import UnreadableAudio
from .cluster_clips import beginning_of
from .cluster_players import sound_address
from .figures.style import PALETTE
from .naming import natural_order

_WIDTH, _HEIGHT, _MARGIN = 1000, 600, 20
_UNKNOWN = "no label"


def map_sounds(
    points: pd.DataFrame,
    manifest: pd.DataFrame,
    *,
    n_sounds: int = 60,
    seconds: float = 1.0,
    sample_rate: int = 16000,
) -> dict[str, str]:
    """Return sounds for some of a map's clips, spread over the clusters.

    Args:
        points: Columns clip_id and pseudo_label.
        manifest: Columns clip_id, path, offset, frames and sample_rate.
        n_sounds: How many clips at most; all sounds are inside the page.
        seconds: Of each clip, from its beginning.
        sample_rate: Of the sounds, in Hz.

    Returns:
        clip_id -> data address of its sound; clips whose file cannot be read are left out.
    """
    turn = points.groupby("pseudo_label").cumcount()  # the first of every cluster, then the second
    chosen = points.loc[turn.sort_values(kind="stable").index, "clip_id"].head(n_sounds)
    clips = manifest.drop_duplicates("clip_id").set_index("clip_id").loc[chosen]
    sounds = {}
    for clip_id, clip in clips.iterrows():
        try:
            sounds[str(clip_id)] = sound_address(
                beginning_of(clip, seconds, sample_rate), sample_rate
            )
        except UnreadableAudio:  # moved since; the point stays, without a rim
            continue
    return sounds


def listening_map(
    points: pd.DataFrame, sounds: Mapping[str, str], *, title: str = "Map of the clips"
) -> str:
    """Return a page with a map of clips, coloured by pseudo-label or true label.

    Args:
        points: Columns clip_id, x, y, pseudo_label and label.
        sounds: clip_id -> address of its sound.
        title: Title of the page.

    Raises:
        ValueError: There is no point.
    """
    if points.empty:
        raise UserError("a map needs at least one clip, and there is none")
    clusters = [f"pseudo-cluster {number}" for number in points["pseudo_label"]]
    labels = [
        _UNKNOWN if pd.isna(label) or label == "" else str(label) for label in points["label"]
    ]
    shown = [
        {"x": x, "y": y, "cluster": cluster, "label": label, "text": f"{cluster}, {label}",
         "sound": clip_id if clip_id in sounds else ""}
        for (x, y), cluster, label, clip_id in zip(
            _placed(points[["x", "y"]].to_numpy(float)).tolist(), clusters, labels,
            points["clip_id"], strict=True)
    ]  # fmt: skip
    colours = {"cluster": _colours(clusters), "label": _colours(labels)}
    data = json.dumps({"points": shown, "colours": colours, "sounds": dict(sounds)})
    page = files(__package__).joinpath("listening_map.html").read_text(encoding="utf-8")
    return Template(page).substitute(title=html.escape(title), data=data.replace("<", "\\u003c"))


def framed(page: str, *, height: int = 620) -> str:
    """Return a page as a frame inside another page, a notebook for example.

    >>> framed("<p>a</p>", height=9)
    '<iframe srcdoc="&lt;p&gt;a&lt;/p&gt;" style="width: 100%; height: 9px; border: 0"></iframe>'
    """
    style = f"width: 100%; height: {height}px; border: 0"
    return f'<iframe srcdoc="{html.escape(page)}" style="{style}"></iframe>'


def _placed(xy: np.ndarray) -> np.ndarray:
    """Return places on the page, (n, 2), in its units."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    shares = (xy - low) / np.where(high > low, high - low, 1)
    size = np.array([_WIDTH, _HEIGHT]) - 2 * _MARGIN
    places: np.ndarray = np.round(_MARGIN + shares * size, 1)
    return places


def _colours(names: Sequence[str]) -> dict[str, str]:
    """Return a colour for each name, grey for clips without a label."""
    known = sorted(set(names) - {_UNKNOWN}, key=natural_order)
    grey = {_UNKNOWN: "#bbbbbb"} if _UNKNOWN in names else {}
    return {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(known)} | grey
