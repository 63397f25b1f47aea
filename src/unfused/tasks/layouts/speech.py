"""Words, speakers, languages, emotions: Speech Commands, LibriSpeech, VoxCeleb1, VoxForge ..."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from ...data.reading import probe
from .layout import LayoutError, layout, named, needed, one_of, read_csv, read_lists

KEYWORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
NOISE = "_background_noise_"
_IEMOCAP = re.compile(r"^\[[\d.]+ - [\d.]+\]\t(?P<name>\S+)\t(?P<emotion>\w+)\t", re.M)
_CREMA_D = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral",
            "SAD": "sadness"}  # fmt: skip


@layout
def speech_commands(folder: Path, *, classes: str = "35") -> pd.DataFrame:
    """List Speech Commands 0.01 or 0.02 with the official lists; a speaker is a group.

    (Warden 2018, arXiv 1804.03209.) With 12 classes every word that is no keyword is ``unknown``,
    and ``silence`` is cut out of the background noise in pieces of one second: of every noise the
    first 80 % train, then 10 % validate and 10 % test.

    Args:
        folder: With one folder per word, ``validation_list.txt`` and ``testing_list.txt``.
        classes: ``35`` (all words; 30 in version 0.01) or ``12`` (10 keywords, unknown, silence).
    """
    few = one_of("classes", classes, ("12", "35")) == "12"
    splits = read_lists(folder, valid="validation_list.txt", test="testing_list.txt")
    words = named(folder, rf"(?P<label>(?!{NOISE})[^/]+)/(?P<group>[^/]+?)(_nohash_[^/]*)?\.wav")
    words["split"] = words["path"].map(splits).fillna("train")
    if not few:
        return words
    words["label"] = words["label"].where(words["label"].isin(KEYWORDS), "unknown")
    rows = []
    for path in named(folder, rf"{NOISE}/[^/]+\.wav")["path"]:
        info = probe(folder / path)
        seconds = info.frames // info.sample_rate
        for second in range(seconds):
            split = "train" if second < 0.8 * seconds else "valid"
            split = split if second < 0.9 * seconds else "test"
            rows.append([path, "silence", split, "", second * info.sample_rate, info.sample_rate])
    if not rows:
        raise LayoutError(f"{folder / NOISE} has no noise to cut silence from: unpack all of it")
    columns = ["path", "label", "split", "group", "offset", "frames"]
    return pd.concat([words, pd.DataFrame(rows, columns=columns)])


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
    one_of("label", label, ("speaker", "chapter"))
    name = r"(?P<speaker>[^/-]+)-(?P<chapter>[^/-]+)-[^/-]+\.flac"
    below = named(folder, rf"(LibriSpeech/)?train-clean-100/(.*/)?{name}")
    found = named(folder, rf"(.*/)?{name}") if below.empty else below
    return found.rename(columns={label: "label"})[["path", "label"]]


@layout
def voxceleb1(folder: Path) -> pd.DataFrame:
    """List ``wav/<id>/<video>/<clip>.wav`` by ``iden_split.txt``: 1 train, 2 valid, 3 test.

    (Nagrani et al. 2017, arXiv 1706.08612.) The parts share videos' speakers, as identification
    must, and no video.
    """
    columns = ["part", "name"]
    lists = needed(folder, "iden_split.txt", "meta/iden_split.txt")
    table = read_csv(lists, columns, sep=r"\s+", names=columns, header=None)
    split = table["part"].map({"1": "train", "2": "valid", "3": "test"})
    if split.isna().any():
        raise LayoutError(
            f"{lists}: part {table['part'][split.isna()].iloc[0]!r} is none of 1, 2, 3"
        )
    label = table["name"].str.split("/").str[0]
    return pd.DataFrame({"path": "wav/" + table["name"], "label": label, "split": split})


@layout
def voxforge(folder: Path) -> pd.DataFrame:
    """List ``<language>/.../<speaker>-<date>-<id>/wav/*.wav``, six languages; a speaker is a group.

    The archives may lie as they were fetched, ``<language>/Trunk/Audio/...``. Submissions without
    a name (``anonymous``) are a group each. Audio in other formats is not listed: the published
    counts are of WAV files.
    """
    found = named(
        folder, r"(?P<label>de|en|es|fr|it|ru)/(.*/)?(?P<group>(?!wav/)[^/]+)/(wav/)?[^/]+\.wav"
    )
    speaker = found["group"].str.split("-").str[0].str.lower()
    unnamed = speaker.str.startswith("anonymous")
    return found.assign(group=found["label"] + "/" + speaker.mask(unnamed, found["group"]))


@layout
def iemocap(folder: Path, *, emotions: str = "neu,ang,sad,hap") -> pd.DataFrame:
    """List the utterances of some emotions; a session is a fold, a speaker a group.

    (Busso et al. 2008.) The evaluations stand in ``Session<n>/dialog/EmoEvaluation/*.txt``, the
    audio in ``Session<n>/sentences/wav/<dialogue>/<utterance>.wav``.

    Args:
        folder: ``IEMOCAP_full_release``.
        emotions: Their codes, commas between; the four of LAPE are 4,490 utterances.
    """
    rows = []
    for session in range(1, 6):
        root = needed(folder, f"Session{session}")
        for table in sorted((root / "dialog" / "EmoEvaluation").glob("*.txt")):
            for name, emotion in _IEMOCAP.findall(table.read_text("utf-8", errors="replace")):
                dialogue, turn = name.rsplit("_", 1)
                path = f"{root.name}/sentences/wav/{dialogue}/{name}.wav"
                rows.append([path, emotion, session, f"{session}{turn[0]}"])
    table = pd.DataFrame(rows, columns=["path", "label", "fold", "group"])
    return table[table["label"].isin(emotions.split(","))]


@layout
def crema_d(folder: Path) -> pd.DataFrame:
    """List ``AudioWAV/<actor>_<sentence>_<emotion>_<level>.wav``; an actor is a group.

    (Cao et al. 2014.) There is no official split.
    """
    found = named(folder, r"AudioWAV/(?P<group>[^_/]+)_[^_/]+_(?P<label>[^_/]+)_[^/]*\.wav")
    if unknown := sorted(set(found["label"]) - set(_CREMA_D)):
        raise LayoutError(f"{folder}: {unknown[0]!r} is no emotion of {sorted(_CREMA_D)}")
    return found.assign(label=found["label"].map(_CREMA_D))
