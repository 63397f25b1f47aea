"""Notes and genres: NSynth, GTZAN, Surge."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd

from .layout import LayoutError, files_below, layout, needed, read_lines

_NSYNTH = {"nsynth-train": "train", "nsynth-valid": "valid", "nsynth-test": "test"}
_NSYNTH_LABELS = {"family": "instrument_family_str", "pitch": "pitch"}
_GTZAN = {
    "train_filtered.txt": "train",
    "valid_filtered.txt": "valid",
    "test_filtered.txt": "test",
}
_SURGE_NOTE = re.compile(r"note(\d+)")


@layout
def nsynth(folder: Path, *, label: str = "family") -> pd.DataFrame:
    """List NSynth (Engel et al. 2017, arXiv 1704.01279) with its three parts.

    Each part is a folder with ``examples.json`` and ``audio/<note>.wav``. An instrument is a group;
    training shares none with the other parts.

    Args:
        folder: With ``nsynth-train``, ``nsynth-valid`` and ``nsynth-test``.
        label: ``family`` (11 classes, ``synth_lead`` only in training) or ``pitch``.
    """
    if label not in _NSYNTH_LABELS:
        raise LayoutError(f"label={label!r} of NSynth must be one of {sorted(_NSYNTH_LABELS)}")
    rows = []
    for part, split in _NSYNTH.items():
        examples = json.loads(needed(folder, f"{part}/examples.json").read_text(encoding="utf-8"))
        for note, facts in examples.items():
            rows.append({
                "path": f"{part}/audio/{note}.wav", "label": facts[_NSYNTH_LABELS[label]],
                "split": split, "group": facts["instrument_str"],
            })  # fmt: skip
    return pd.DataFrame(rows)


@layout
def gtzan(folder: Path) -> pd.DataFrame:
    """List GTZAN with the artist-filtered split (Kereliuk et al. 2015), 443/197/290 clips.

    The audio is ``genres/<genre>/<genre>.<number>.wav`` (or ``genres_original``); the split's lists
    (``train_filtered.txt`` ...) lie beside it and name files of the audio folder.
    """
    root = needed(folder, "genres", "genres_original")
    rows = []
    for name, split in _GTZAN.items():
        for line in read_lines(needed(folder, name)):
            path = (root / line).with_suffix(".wav")
            rows.append({
                "path": path.relative_to(folder).as_posix(), "label": Path(line).parts[0],
                "split": split,
            })  # fmt: skip
    return pd.DataFrame(rows)


@layout
def surge(folder: Path) -> pd.DataFrame:
    """List the Surge synthesiser data (Turian et al. 2021): 88 pitches, a preset is a group.

    The audio is ``<preset>/note<pitch>.ogg`` with MIDI pitches 021 to 108; files of other names are
    left out.
    """
    rows = []
    for file in files_below(folder, ".ogg", ".wav", ".flac"):
        note = _SURGE_NOTE.fullmatch(file.stem)
        if note and len(file.parts) > 1:
            label = str(int(note[1]))
            rows.append({"path": file.as_posix(), "label": label, "group": file.parts[-2]})
    return pd.DataFrame(rows)
