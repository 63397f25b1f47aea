"""Scenes, events and birds: TUT 2018, UrbanSound8K, ESC-50, bird audio detection."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from .layout import layout, named, needed, read_csv

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
    names = ["filename", "scene_label"]
    meta = read_csv(needed(folder, "meta.csv"), [*names, "identifier"], sep="\t")
    parts: dict[str, str] = {}
    for part, file in (("train", "fold1_train.txt"), ("test", "fold1_evaluate.txt")):
        lists = needed(folder, f"evaluation_setup/{file}")
        listed = read_csv(lists, names, sep="\t", names=names, header=None)
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
    path = "audio/fold" + meta["fold"] + "/" + meta["slice_file_name"]
    return meta.rename(columns={"class": "label", "fsID": "group"}).assign(path=path)


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
    path = "audio/" + meta["filename"]
    return meta.rename(columns={"category": "label", "src_file": "group"}).assign(path=path)


@layout
def bird_audio_detection(folder: Path) -> pd.DataFrame:
    """List freefield1010 and warblr (Stowell et al. 2018, arXiv 1807.05812): bird or no bird.

    The CSVs have ``itemid, datasetid, hasbird``; the audio of a data set lies anywhere below the
    folder as ``<itemid>.wav``. There is no official split of the development data.
    """
    audio = named(folder, r"(.*/)?(?P<item>[^/]+)\.wav").set_index("item")["path"]
    tables = [read_csv(needed(folder, *names), ["itemid", "hasbird"]) for names in _BIRDS.values()]
    meta = pd.concat(tables, ignore_index=True)
    has_bird = meta["hasbird"].str.strip().str.startswith("1")
    return pd.DataFrame({
        "path": meta["itemid"].map(audio.to_dict()).fillna(meta["itemid"] + ".wav"),
        "label": has_bird.map({True: "bird", False: "no bird"}),
    })  # fmt: skip
