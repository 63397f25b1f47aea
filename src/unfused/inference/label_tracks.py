"""What a classifier heard as label tracks that Audacity and Raven open."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import pandas as pd

from .classifier import UNKNOWN


def label_tracks(said: pd.DataFrame, form: Literal["audacity", "raven"]) -> dict[str, str]:
    """Return a label track for each recording: where a sound of the classes was heard.

    Neighbouring segments of one label are put together. Predictions are those of
    :meth:`~unfused.inference.classifier.Classifier.classify`.

    Returns:
        Path of the recording, from where all of them lie, without its suffix -> the text. Raven
        finds its own tables by the ending ``.selections``.
    """
    write, ending = (as_raven, ".selections") if form == "raven" else (as_audacity, "")
    paths = list(said["path"].unique())
    common = os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else ""
    tracks: dict[str, str] = {}
    known = said[~said["label"].isin(["", UNKNOWN])]
    pieces = merged(known)
    rows_of = pieces.groupby("path").indices
    for path in paths:
        rows = pieces.iloc[rows_of.get(path, [])]
        file = Path(os.path.relpath(str(path), common or "."))
        name = file.with_suffix("") if f"{file.with_suffix('')}{ending}" not in tracks else file
        tracks[f"{name.as_posix()}{ending}"] = write(rows)
    return tracks


def as_audacity(said: pd.DataFrame) -> str:
    """Return predictions of one recording as a label track for Audacity."""
    rows = zip(said["start_seconds"], said["end_seconds"], said["label"], strict=True)
    return "".join(f"{start:.6f}\t{end:.6f}\t{_one_line(label)}\n" for start, end, label in rows)


def as_raven(said: pd.DataFrame) -> str:
    """Return predictions as a selection table for Raven."""
    names = "Selection,View,Channel,Begin Time (s),End Time (s),Annotation,Score,Begin Path"
    rows = (
        f"{number}\tSpectrogram 1\t1\t{row.start_seconds:.3f}\t{row.end_seconds:.3f}\t"
        f"{_one_line(row.label)}\t{row.probability:.4f}\t{row.path}\n"
        for number, row in enumerate(said.itertuples(), start=1)
    )
    return names.replace(",", "\t") + "\n" + "".join(rows)


def merged(said: pd.DataFrame) -> pd.DataFrame:
    """Return predictions with neighbouring segments of one label put together.

    Args:
        said: Columns path, start_seconds, end_seconds, label, probability, by path and start.

    Returns:
        The same columns; the probability is the highest of its segments.
    """
    previous = said.shift()
    apart = (
        (said["path"] != previous["path"])
        | (said["label"] != previous["label"])
        | (said["start_seconds"] > previous["end_seconds"] + 1e-3)
    )
    pieces = said.groupby(apart.cumsum()).agg(
        path=("path", "first"),
        start_seconds=("start_seconds", "first"),
        end_seconds=("end_seconds", "max"),
        label=("label", "first"),
        probability=("probability", "max"),
    )
    return pieces.reset_index(drop=True)


def _one_line(label: object) -> str:
    return " ".join(str(label).split())
