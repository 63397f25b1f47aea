"""A corpus that comes with pip: single notes rendered from a General MIDI SoundFont.

In the manner of NSynth (Engel et al. 2017, arXiv:1704.01279): single notes labelled with the
instrument family and the pitch. Test groups share no recording with training, see
:mod:`unfused.demo.soundfont`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
from joblib import Parallel, delayed

from unfused.core.outputs import mark_of, shown, write_json
from unfused.core.progress import progress
from unfused.demo.card import data_card
from unfused.demo.casting import Casting, cast_programmes, read_families
from unfused.demo.note_rendering import find_soundfont, write_note
from unfused.demo.plan import COLUMNS, DemoSettings, plan_notes
from unfused.demo.soundfont import read_soundfont

log = logging.getLogger(__name__)
_FORMAT = 1
_LABELS, _CORPUS, _CARD, _AUDIO = "labels.csv", "corpus.json", "README.md", "audio"
_TEXT_COLUMNS = ("path", "label", "pitch_class", "split", "group", "samples")


def render_demo_corpus(
    folder: str | Path,
    *,
    n_notes: int = 2000,
    seconds: float = 1.5,
    seed: int = 0,
    lowest: int = 36,
    highest: int = 84,
    n_jobs: int = -1,
) -> pd.DataFrame:
    """Render the demo corpus, or what is missing of it, or nothing if it is there.

    Args:
        folder: Where ``audio/*.flac``, ``labels.csv``, ``README.md`` and ``corpus.json`` go.
        n_notes: Number of distinct (programme, pitch) pairs.
        seconds: Length of every clip.
        seed: Decides test groups, held-out pitches, pitches and velocities.
        lowest: Lowest MIDI pitch.
        highest: Highest MIDI pitch.
        n_jobs: Number of processes; -1 = one per core.

    Returns:
        The table ``labels.csv`` with path (relative to ``folder``), label (instrument family, empty
        where the family is left out), pitch, pitch_class, programme, velocity, split, group and
        samples.
        ``attrs["left_out"]`` names the families left out.

    Raises:
        DemoUnavailableError: The renderer or the SoundFont is not installed.
        FileExistsError: ``folder`` holds something else.
        ValueError: A setting is out of range.
        OSError: ``folder`` cannot be written.
    """
    folder = Path(folder)
    settings = DemoSettings(n_notes, seconds, seed, lowest, highest)
    soundfont = find_soundfont()
    families = read_families()
    made_from = _made_from(settings, soundfont, families)
    if (finished := _finished(folder, made_from)) is not None:
        log.info("reused the demo corpus in %s", shown(folder), extra={"outcome": "reused"})
        return finished
    try:
        _prepare(folder, made_from)
        return _build(folder, settings, soundfont, families, made_from, n_jobs)
    except OSError as error:
        if isinstance(error, FileExistsError) or error.errno is None:
            raise
        raise OSError(
            error.errno,
            f"{error.strerror}, while the demo corpus was rendered into {folder} (it needs about "
            f"{n_notes * seconds * 0.03:.0f} MB); make room or name another folder, and run again: "
            "what is rendered is kept",
        ) from error


def _made_from(
    settings: DemoSettings, soundfont: Path, families: Mapping[int, str]
) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        **asdict(settings),
        "soundfont": hashlib.blake2b(soundfont.read_bytes(), digest_size=16).hexdigest(),
        "renderer": f"midirenderer {metadata.version('midirenderer')}",
        "families": mark_of(families=families),
    }


def _finished(folder: Path, made_from: Mapping[str, Any]) -> pd.DataFrame | None:
    """Return the corpus if all of it is there and was made from the same things."""
    record = _record(folder)
    if record.get("made_from") != made_from or not (folder / _LABELS).is_file():
        return None
    table = _read_labels(folder)
    return table if all((folder / path).is_file() for path in table["path"]) else None


def _record(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / _CORPUS).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return record if isinstance(record, dict) else {}


def _read_labels(folder: Path) -> pd.DataFrame:
    text = dict.fromkeys(_TEXT_COLUMNS, str)
    table = pd.read_csv(folder / _LABELS, keep_default_na=False, dtype=text)
    table.attrs["left_out"] = list(_record(folder).get("left_out", []))
    return table


def _prepare(folder: Path, made_from: Mapping[str, Any]) -> None:
    """Empty the folder of a corpus made from other things, and refuse a folder of other things."""
    record = _record(folder)
    audio = folder / _AUDIO
    if not record and folder.exists():
        found = sorted(item.name for item in folder.iterdir() if not item.name.startswith("."))
        if found and found != [_CORPUS]:
            raise FileExistsError(
                errno.EEXIST,
                f"no demo corpus, but files of another kind ({', '.join(found[:3])}); the demo "
                "corpus needs a folder of its own: name an empty or a new one",
                str(folder),
            )
    (folder / _LABELS).unlink(missing_ok=True)
    if record and record.get("made_from") != made_from:
        log.info("rebuilding the demo corpus in %s: its settings changed", shown(folder))
        _remove_notes(audio, keep=set())
    audio.mkdir(parents=True, exist_ok=True)
    for unfinished in audio.glob(".programme-*.tmp"):
        unfinished.unlink()
    write_json(folder / _CORPUS, {"made_from": made_from})


def _remove_notes(audio: Path, keep: set[str]) -> None:
    for note in audio.glob("programme-*_pitch-*.flac"):
        if note.name not in keep:
            note.unlink()


def _build(
    folder: Path,
    settings: DemoSettings,
    soundfont: Path,
    families: Mapping[int, str],
    made_from: Mapping[str, Any],
    n_jobs: int,
) -> pd.DataFrame:
    """Render what is missing and write the tables, ``labels.csv`` last."""
    samples = read_soundfont(soundfont).programmes()
    casting = cast_programmes(
        samples, families, test_fraction=settings.test_fraction, seed=settings.seed
    )
    if casting.left_out:
        log.warning(
            "left out of the task, for want of two groups without shared samples: %s",
            ", ".join(casting.left_out),
        )
    table, silent = _render(folder, settings, soundfont, samples, casting, n_jobs)
    _remove_notes(folder / _AUDIO, keep={Path(path).name for path in table["path"]})
    record = {
        "made_from": made_from,
        "left_out": list(casting.left_out),
        "silent": [list(pair) for pair in sorted(silent)],
    }
    write_json(folder / _CORPUS, record)
    (folder / _CARD).write_text(data_card(table, settings, casting, silent), encoding="utf-8")
    temporary = folder / f".{_LABELS}.tmp"
    table.to_csv(temporary, index=False, columns=list(COLUMNS), encoding="utf-8")
    os.replace(temporary, folder / _LABELS)
    log.info(
        "rendered %d notes into %s%s",
        len(table),
        shown(folder),
        f"; {len(silent)} silent ones gave way to others" if silent else "",
        extra={"outcome": "built"},
    )
    return _read_labels(folder)


def _render(
    folder: Path,
    settings: DemoSettings,
    soundfont: Path,
    samples: Mapping[int, frozenset[str]],
    casting: Casting,
    n_jobs: int,
) -> tuple[pd.DataFrame, set[tuple[int, int]]]:
    """Render the planned notes; plan again without the silent ones until none is missing."""
    silent: set[tuple[int, int]] = set()
    while True:
        table = plan_notes(settings, casting, samples, silent)
        missing = table[[not (folder / path).is_file() for path in table["path"]]]
        if missing.empty:
            return table, silent
        silent |= _render_missing(folder, missing, soundfont, settings.seconds, n_jobs)


def _render_missing(
    folder: Path, missing: pd.DataFrame, soundfont: Path, seconds: float, n_jobs: int
) -> set[tuple[int, int]]:
    """Render notes in parallel; return the (programme, pitch) pairs that are silent."""
    notes = list(
        missing[["path", "programme", "pitch", "velocity"]].itertuples(index=False, name=None)
    )
    jobs = (
        delayed(write_note)(folder / path, soundfont, programme, pitch, velocity, seconds)
        for path, programme, pitch, velocity in notes
    )
    # A few notes to render are not worth starting processes for.
    workers = 1 if len(notes) < 100 else n_jobs
    audible = progress(
        Parallel(n_jobs=workers, return_as="generator", batch_size=32)(jobs),
        total=len(notes),
        desc="rendering notes",
        unit="note",
    )
    return {
        (programme, pitch)
        for (_, programme, pitch, _), heard in zip(notes, audible, strict=True)
        if not heard
    }
