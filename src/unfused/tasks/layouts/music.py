"""Notes and genres: NSynth, GTZAN, Surge."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from .layout import layout, named, needed, one_of, read_lists

_NSYNTH_LABELS = {"family": "instrument_family_str", "pitch": "pitch"}


@layout
def nsynth(folder: Path, *, label: str = "family") -> pd.DataFrame:
    """List NSynth (Engel et al. 2017, arXiv 1704.01279) with its three parts.

    Each part is a folder with ``examples.json`` and ``audio/<note>.wav``. An instrument is a group;
    training shares none with the other parts.

    Args:
        folder: With ``nsynth-train``, ``nsynth-valid`` and ``nsynth-test``.
        label: ``family`` (11 classes, ``synth_lead`` only in training) or ``pitch``.
    """
    column = _NSYNTH_LABELS[one_of("label", label, _NSYNTH_LABELS)]
    rows = []
    for split in ("train", "valid", "test"):
        part = needed(folder, f"nsynth-{split}")
        examples = json.loads(needed(part, "examples.json").read_text(encoding="utf-8"))
        for note, facts in examples.items():
            path = f"{part.name}/audio/{note}.wav"
            rows.append([path, facts[column], split, facts["instrument_str"]])
    return pd.DataFrame(rows, columns=["path", "label", "split", "group"])


@layout
def gtzan(folder: Path) -> pd.DataFrame:
    """List GTZAN with the artist-filtered split (Kereliuk et al. 2015), 443/197/290 clips.

    The audio is ``genres/<genre>/<genre>.<number>.wav`` (or ``genres_original``); the split's lists
    (``train_filtered.txt`` ...) lie beside it and name files of the audio folder.
    """
    root = needed(folder, "genres", "genres_original").name
    names = {split: f"{split}_filtered.txt" for split in ("train", "valid", "test")}
    rows = [
        [Path(root, line).with_suffix(".wav").as_posix(), Path(line).parts[0], split]
        for line, split in read_lists(folder, **names).items()
    ]
    return pd.DataFrame(rows, columns=["path", "label", "split"])


@layout
def surge(folder: Path) -> pd.DataFrame:
    """List the Surge synthesiser data (Turian et al. 2021): 88 pitches, a preset is a group.

    The audio is ``<preset>/note<pitch>.ogg`` with MIDI pitches 021 to 108; files of other names are
    left out.
    """
    return named(folder, r"(.*/)?(?P<group>[^/]+)/note0*(?P<label>\d+)\.(ogg|wav|flac)")
