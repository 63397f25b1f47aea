"""Scenes, events and birds: TUT 2018, UrbanSound8K, ESC-50, bird audio detection."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from .layout import files_below, layout, needed, read_csv

_BIRDS = {
    "ff1010bird": ("ff1010bird_metadata_2018.csv", "ff1010bird_metadata.csv"),
    "warblrb10k": ("warblrb10k_public_metadata_2018.csv", "warblrb10k_public_metadata.csv"),
}


@layout
def tut_urban_2018(folder: Path) -> pd.DataFrame:
    """List TUT Urban Acoustic Scenes 2018 by its fold 1: train, and evaluate as test.

    (Mesaros et al. 2018, arXiv 1807.09840.) ``meta.csv`` names each clip's place (``identifier``),
    which is a group, so the validation part that is cut from training shares no place with it.
    """
    meta = read_csv(needed(folder, "meta.csv"), ["filename", "scene_label", "identifier"], sep="\t")
    setup = needed(folder, "evaluation_setup")
    names = ["filename", "scene_label"]
    parts: dict[str, str] = {}
    for part, file in (("train", "fold1_train.txt"), ("test", "fold1_evaluate.txt")):
        listed = read_csv(needed(setup, file), names, sep="\t", names=names, header=None)
        parts |= dict.fromkeys(listed["filename"], part)
    meta = meta[meta["filename"].isin(parts)]
    return pd.DataFrame({
        "path": meta["filename"], "label": meta["scene_label"],
        "split": meta["filename"].map(parts), "group": meta["identifier"],
    })  # fmt: skip


@layout
def urbansound8k(folder: Path) -> pd.DataFrame:
    """List UrbanSound8K with its ten folds (Salamon et al. 2014); a recording is a group."""
    columns = ["slice_file_name", "fsID", "fold", "class"]
    meta = read_csv(needed(folder, "metadata/UrbanSound8K.csv"), columns)
    return pd.DataFrame({
        "path": "audio/fold" + meta["fold"] + "/" + meta["slice_file_name"],
        "label": meta["class"], "fold": meta["fold"], "group": meta["fsID"],
    })  # fmt: skip


@layout
def esc50(folder: Path, *, esc10: bool = False) -> pd.DataFrame:
    """List ESC-50 with its five folds (Piczak 2015); a source recording is a group.

    Args:
        folder: With ``meta/esc50.csv`` and ``audio/``.
        esc10: Only the ten classes of ESC-10.
    """
    columns = ["filename", "fold", "category", "esc10", "src_file"]
    meta = read_csv(needed(folder, "meta/esc50.csv"), columns)
    if esc10:
        meta = meta[meta["esc10"].str.lower() == "true"]
    return pd.DataFrame({
        "path": "audio/" + meta["filename"], "label": meta["category"], "fold": meta["fold"],
        "group": meta["src_file"],
    })  # fmt: skip


@layout
def bird_audio_detection(folder: Path) -> pd.DataFrame:
    """List freefield1010 and warblr (Stowell et al. 2018, arXiv 1807.05812): bird or no bird.

    The CSVs have ``itemid, datasetid, hasbird``; the audio of a data set lies anywhere below the
    folder as ``<itemid>.wav``. There is no official split of the development data.
    """
    audio = {file.stem: file.as_posix() for file in files_below(folder, ".wav")}
    rows = []
    for names in _BIRDS.values():
        meta = read_csv(needed(folder, *names), ["itemid", "hasbird"])
        for item, has_bird in zip(meta["itemid"], meta["hasbird"], strict=True):
            label = "bird" if has_bird.strip().startswith("1") else "no bird"
            rows.append({"path": audio.get(item, f"{item}.wav"), "label": label})
    return pd.DataFrame(rows)
