"""What a classifier heard as label tracks that Audacity and Raven open."""

import os
from pathlib import Path
from typing import Literal

import pandas as pd


def label_tracks(said: pd.DataFrame, form: Literal["audacity", "raven"]) -> dict[str, str]:
    """Return a label track for each recording: where a sound of the classes was heard.

    Neighbouring segments of one label are put together, unknown sounds left out. Predictions are
    those of :meth:`~unfused.inference.classifier.Classifier.classify`.

    Returns:
        Path of the recording, from where all of them lie, without its suffix -> the text. Raven
        finds its own tables by the ending ``.selections``.
    """
    write, ending = (as_raven, ".selections") if form == "raven" else (as_audacity, "")
    paths = list(said["path"].unique())
    common = os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else ""
    pieces = merged(said[(said["label"] != "") & ~said["unknown"].astype(bool)])
    rows_of, tracks = pieces.groupby("path").indices, dict[str, str]()
    for path in paths:
        file = Path(os.path.relpath(str(path), common or "."))
        others = (Path(f"{file}-{number}") for number in range(2, len(paths) + 2))
        names = (f"{name.as_posix()}{ending}" for name in (file.with_suffix(""), file, *others))
        name = next(name for name in names if name not in tracks)
        tracks[name] = write(pieces.iloc[rows_of.get(path, [])])
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

    They have columns path, start_seconds, end_seconds, label and probability, which becomes the
    highest of the segments, and are in the order of path and start.
    """
    previous = said.shift()
    apart = (said[["path", "label"]] != previous[["path", "label"]]).any(axis=1)
    apart |= said["start_seconds"] > previous["end_seconds"] + 1e-3
    kept = {"path": "first", "start_seconds": "first", "end_seconds": "max", "label": "first"}
    pieces = said.groupby(apart.cumsum()).agg({**kept, "probability": "max"})
    return pieces.reset_index(drop=True)


def _one_line(label: object) -> str:
    return " ".join(str(label).split())
