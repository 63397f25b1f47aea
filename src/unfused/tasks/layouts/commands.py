"""Speech Commands (Warden 2018, arXiv 1804.03209), versions 0.01 and 0.02."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import soundfile

from .layout import LayoutError, files_below, layout, needed, read_lines

KEYWORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
NOISE = "_background_noise_"


@layout
def speech_commands(folder: Path, *, classes: str = "35") -> pd.DataFrame:
    """List the clips with the official lists; a speaker is a group.

    With 12 classes every word that is no keyword is ``unknown``, and ``silence`` is cut out of the
    background noise in pieces of one second: of every noise the first 80 % train, then 10 %
    validate and 10 % test.

    Args:
        folder: With one folder per word, ``validation_list.txt`` and ``testing_list.txt``.
        classes: ``35`` (all words; 30 in version 0.01) or ``12`` (10 keywords, unknown, silence).
    """
    if str(classes) not in ("12", "35"):
        raise LayoutError(f"classes={classes!r} of Speech Commands must be '12' or '35'")
    splits = dict.fromkeys(read_lines(needed(folder, "validation_list.txt")), "valid")
    splits |= dict.fromkeys(read_lines(needed(folder, "testing_list.txt")), "test")
    rows = []
    for file in files_below(folder, ".wav"):
        word = file.parts[0]
        if word == NOISE or len(file.parts) != 2:
            continue
        label = word if str(classes) == "35" or word in KEYWORDS else "unknown"
        rows.append({
            "path": file.as_posix(), "label": label, "split": splits.get(file.as_posix(), "train"),
            "group": file.stem.split("_nohash_")[0],
        })  # fmt: skip
    return pd.DataFrame(rows + (_silence(folder) if str(classes) == "12" else []))


def _silence(folder: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for file in sorted(needed(folder, NOISE).glob("*.wav")):
        info = soundfile.info(file)
        n_pieces = info.frames // info.samplerate
        for piece in range(n_pieces):
            share = piece / n_pieces
            split = "train" if share < 0.8 else "valid" if share < 0.9 else "test"
            rows.append({
                "path": file.relative_to(folder).as_posix(), "label": "silence", "split": split,
                "group": "", "offset": piece * info.samplerate, "frames": info.samplerate,
            })  # fmt: skip
    return rows
