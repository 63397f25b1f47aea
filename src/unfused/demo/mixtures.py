"""A multi-label corpus from the demo's notes: one to three instruments a clip, AudioSet's table.

A clip mixes notes of different families out of one part of the demo's split, so what the demo keeps
out of training stays out of it here.
"""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from numpy.typing import NDArray

from ..core.errors import UserError
from ..core.outputs import mark_of, shown, write_json
from ..core.progress import progress
from ..core.seeding import numpy_generator

log = logging.getLogger(__name__)
TABLE, RECORD, AUDIO = "labels.csv", "mixtures.json", "audio"
COLUMNS = ("path", "start_seconds", "end_seconds", "positive_labels", "split")
_FORMAT = 1
_MOST = 3  # instruments in a clip
_SOFTEST = -9.0  # dB, of one instrument in a mixture
_PEAK = 0.9


def render_mixtures(folder: str | Path, notes: str | Path, *, n: int, seed: int = 0) -> Path:
    """Mix the clips, or what is missing of them.

    Args:
        folder: Receives ``audio/*.flac``, ``labels.csv`` (path, start_seconds, end_seconds,
            positive_labels with commas between, split) and ``mixtures.json``.
        notes: Folder of the demo corpus.
        n: Number of clips; the parts keep the shares that they have among the notes.
        seed: Decides which notes are mixed, where they begin and how loud they are.

    Returns:
        ``folder``.

    Raises:
        ValueError: ``n`` is below 1, or a part of the demo has fewer than three families.
    """
    folder, notes = Path(folder), Path(notes)
    table = pd.read_csv(notes / "labels.csv", keep_default_na=False, dtype=str)
    known = (notes / "corpus.json").read_text(encoding="utf-8")
    mark = mark_of(format=_FORMAT, known=known, n=n, seed=seed)
    if _finished(folder, mark):
        return folder
    plan = _plan(table[table["label"] != ""], n, seed)
    (folder / AUDIO).mkdir(parents=True, exist_ok=True)
    (folder / TABLE).unlink(missing_ok=True)
    for file in (folder / AUDIO).glob("*.flac"):
        file.unlink()
    rows = []
    bar = progress(plan, total=len(plan), desc="mixing", unit="clip")
    for number, (split, chosen) in enumerate(bar):
        audio, rate = _mix([notes / path for path in chosen["path"]], number, seed)
        name = f"{AUDIO}/mixture-{number:05d}.flac"
        soundfile.write(folder / name, audio, rate, subtype="PCM_16")
        labels = ",".join(sorted(chosen["label"]))
        rows.append([name, 0.0, round(len(audio) / rate, 3), labels, split])
    _write_table(folder / TABLE, rows)
    write_json(folder / RECORD, {"fingerprint": mark})
    log.info("mixed %d clips of 1 to %d instruments in %s", len(rows), _MOST, shown(folder))
    return folder


def _finished(folder: Path, mark: str) -> bool:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return bool(record.get("fingerprint") == mark) and (folder / TABLE).is_file()


def _plan(notes: pd.DataFrame, n: int, seed: int) -> list[tuple[str, pd.DataFrame]]:
    """Return the part and the notes of every clip."""
    if n < 1:
        raise UserError(f"n={n} mixtures: ask for at least 1")
    generator, plan = numpy_generator(seed, "demo mixtures"), []
    for split, part in notes.groupby("split"):
        families = {name: rows.index.to_numpy() for name, rows in part.groupby("label")}
        if len(families) < _MOST:
            raise UserError(
                f"the {split} part of the demo has {len(families)} families, a mixture takes up "
                f"to {_MOST}: render more notes (demo.n_notes)"
            )
        names = sorted(families)
        for _ in range(max(1, round(n * len(part) / len(notes)))):
            size = int(generator.integers(1, _MOST + 1))
            chosen = generator.choice(len(names), size, replace=False)
            rows = [generator.choice(families[names[place]]) for place in chosen]
            plan.append((str(split), notes.loc[rows]))
    return plan


def _mix(files: list[Path], number: int, seed: int) -> tuple[NDArray[np.float32], int]:
    """Return notes added up at random onsets and levels, twice as long as one of them."""
    generator = numpy_generator(seed, "demo mixture", number)
    sounds = [soundfile.read(file, dtype="float32") for file in files]
    rate, length = sounds[0][1], 2 * max(len(sound) for sound, _ in sounds)
    mixed = np.zeros(length, np.float32)
    for sound, _ in sounds:
        level = 10 ** (generator.uniform(_SOFTEST, 0.0) / 20)
        begin = int(generator.integers(0, length - len(sound) + 1))
        loudest = max(float(np.abs(sound).max()), 1e-4)
        mixed[begin : begin + len(sound)] += level / loudest * sound
    return mixed * (_PEAK / max(float(np.abs(mixed).max()), 1e-4)), rate


def _write_table(path: Path, rows: list[list[object]]) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    temporary.rename(path)
