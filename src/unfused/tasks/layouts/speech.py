"""Who speaks, which language, and how: LibriSpeech, VoxCeleb1, VoxForge, IEMOCAP, CREMA-D."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from .layout import LayoutError, files_below, layout, needed, read_lines

_IEMOCAP = re.compile(r"^\[[\d.]+ - [\d.]+\]\t(?P<name>\S+)\t(?P<emotion>\w+)\t")
_CREMA_D = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral",
            "SAD": "sadness"}  # fmt: skip
LANGUAGES = ("de", "en", "es", "fr", "it", "ru")


@layout
def librispeech(folder: Path, *, label: str = "speaker") -> pd.DataFrame:
    """List ``<speaker>/<chapter>/<speaker>-<chapter>-<utterance>.flac`` (Panayotov et al. 2015).

    There is no official split for speaker identification; it is made, stratified by label.
    train-clean-100 has 251 speakers. LAPE's 585 are those of Kaldi's recipe, which takes every
    chapter for a speaker of its own; ``label="chapter"`` is that reading.

    Args:
        folder: ``train-clean-100`` itself, or ``LibriSpeech`` above it.
        label: ``speaker`` or ``chapter``.
    """
    if label not in ("speaker", "chapter"):
        raise LayoutError(f"label={label!r} of LibriSpeech must be 'speaker' or 'chapter'")
    below = [name for name in ("train-clean-100", "LibriSpeech/train-clean-100")
             if (folder / name).is_dir()]  # fmt: skip
    root = folder / below[0] if below else folder
    rows = []
    for file in files_below(root, ".flac"):
        speaker, chapter, _ = file.stem.split("-")
        path = (root / file).relative_to(folder).as_posix()
        rows.append({"path": path, "label": speaker if label == "speaker" else chapter})
    return pd.DataFrame(rows)


@layout
def voxceleb1(folder: Path) -> pd.DataFrame:
    """List ``wav/<id>/<video>/<clip>.wav`` by ``iden_split.txt``: 1 train, 2 valid, 3 test.

    (Nagrani et al. 2017, arXiv 1706.08612.) The parts share videos' speakers, as identification
    must, and no video.
    """
    parts = {"1": "train", "2": "valid", "3": "test"}
    rows = []
    for line in read_lines(needed(folder, "iden_split.txt", "meta/iden_split.txt")):
        part, name = line.split(maxsplit=1)
        if part not in parts:
            raise LayoutError(f"iden_split.txt: part {part!r} in line {line!r} is none of 1, 2, 3")
        rows.append({"path": f"wav/{name}", "label": name.split("/")[0], "split": parts[part]})
    return pd.DataFrame(rows)


@layout
def voxforge(folder: Path) -> pd.DataFrame:
    """List ``<language>/.../<speaker>-<date>-<id>/wav/*.wav``, six languages; a speaker is a group.

    The archives may lie as they were fetched, ``<language>/Trunk/Audio/...``. Submissions without
    a name (``anonymous``) are a group each. Audio in other formats is not listed: the published
    counts are of WAV files.
    """
    rows = []
    for file in files_below(folder, ".wav"):
        if len(file.parts) < 3 or file.parts[0] not in LANGUAGES:
            continue
        submission = file.parts[-3 if file.parts[-2] == "wav" else -2]
        speaker = submission.split("-")[0].lower()
        unnamed = speaker.startswith("anonymous")
        group = submission if unnamed else speaker
        rows.append({
            "path": file.as_posix(), "label": file.parts[0], "group": f"{file.parts[0]}/{group}"
        })  # fmt: skip
    return pd.DataFrame(rows)


@layout
def iemocap(folder: Path, *, emotions: str = "neu,ang,sad,hap") -> pd.DataFrame:
    """List the utterances of some emotions; a session is a fold, a speaker a group.

    (Busso et al. 2008.) The evaluations stand in ``Session<n>/dialog/EmoEvaluation/*.txt``, the
    audio in ``Session<n>/sentences/wav/<dialogue>/<utterance>.wav``.

    Args:
        folder: ``IEMOCAP_full_release``.
        emotions: Their codes, commas between; the four of LAPE are 4,490 utterances.
    """
    wanted = set(emotions.split(","))
    rows = []
    for session in range(1, 6):
        root = needed(folder, f"Session{session}")
        for table in sorted((root / "dialog" / "EmoEvaluation").glob("*.txt")):
            for line in table.read_text(encoding="utf-8", errors="replace").splitlines():
                found = _IEMOCAP.match(line)
                if found and found["emotion"] in wanted:
                    name = found["name"]
                    dialogue = name.rsplit("_", 1)[0]
                    rows.append({
                        "path": f"Session{session}/sentences/wav/{dialogue}/{name}.wav",
                        "label": found["emotion"], "fold": session,
                        "group": f"{session}{name.rsplit('_', 1)[1][0]}",
                    })  # fmt: skip
    return pd.DataFrame(rows)


@layout
def crema_d(folder: Path) -> pd.DataFrame:
    """List ``AudioWAV/<actor>_<sentence>_<emotion>_<level>.wav``; an actor is a group.

    (Cao et al. 2014.) There is no official split.
    """
    rows = []
    for file in sorted(needed(folder, "AudioWAV").glob("*.wav")):
        actor, _, emotion, *_ = file.stem.split("_")
        if emotion not in _CREMA_D:
            raise LayoutError(f"{file.name}: {emotion!r} is no emotion of {sorted(_CREMA_D)}")
        rows.append({"path": f"AudioWAV/{file.name}", "label": _CREMA_D[emotion], "group": actor})
    return pd.DataFrame(rows)
