"""Several labels a clip: AudioSet, FSD50K, FSDKaggle2019, MagnaTagATune. Commas stand between."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from .layout import layout, named, needed, one_of, read_csv

_MAGNATAGATUNE = {
    **dict.fromkeys("0123456789ab", "train"), "c": "valid", **dict.fromkeys("def", "test")
}  # fmt: skip


@layout
def audioset(folder: Path, *, training: str = "balanced") -> pd.DataFrame:
    """List AudioSet's segments (Gemmeke et al. 2017); labels are its machine ids.

    The CSVs have three lines of comment, then ``YTID, start_seconds, end_seconds,
    positive_labels``. The audio is not distributed: every clip that was fetched is found by its
    YouTube id, ``[Y]<id>[_<start>].<suffix>``, anywhere below the folder; the others are listed
    too, and end among the rejected files.

    Args:
        folder: With the CSVs and the audio.
        training: ``balanced`` or ``unbalanced``.
    """
    one_of("training", training, ("balanced", "unbalanced"))
    listed = named(folder, r"(.*/)?(?P<stem>[^/]+)\.(wav|flac|opus)")
    audio = dict(zip(listed["stem"], listed["path"], strict=True))
    columns, rows = ["ytid", "start", "end", "labels"], []
    for part, split in ((f"{training}_train", "train"), ("eval", "test")):
        table = read_csv(
            needed(folder, f"{part}_segments.csv"), columns, names=columns, header=None,
            skiprows=3, skipinitialspace=True, quotechar='"',
        )  # fmt: skip
        for video, start, _, labels in table.itertuples(index=False):
            second = float(start)
            ends = ("", f"_{second:g}", f"_{int(1000 * second)}")
            stems = (f"{first}{video}{end}" for end in ends for first in ("", "Y"))
            path = next((audio[stem] for stem in stems if stem in audio), f"{video}.wav")
            rows.append([path, labels, split])
    return pd.DataFrame(rows, columns=["path", "label", "split"])


@layout
def fsd50k(folder: Path) -> pd.DataFrame:
    """List FSD50K (Fonseca et al. 2020, arXiv 2010.00475) with its train, val and eval parts."""
    truth = needed(folder, "FSD50K.ground_truth")
    dev = read_csv(needed(truth, "dev.csv"), ["fname", "labels", "split"])
    test = read_csv(needed(truth, "eval.csv"), ["fname", "labels"])
    parts = [
        dev.assign(path="FSD50K.dev_audio/" + dev["fname"] + ".wav"),
        test.assign(path="FSD50K.eval_audio/" + test["fname"] + ".wav", split="test"),
    ]
    return pd.concat(parts).rename(columns={"labels": "label"})


@layout
def fsdkaggle2019(folder: Path) -> pd.DataFrame:
    """List FSDKaggle2019 (Fonseca et al. 2019, arXiv 1906.02975): curated training and test."""
    tables = []
    for part, split in (("train_curated", "train"), ("test", "test")):
        file = needed(folder, f"FSDKaggle2019.meta/{part}_post_competition.csv")
        table = read_csv(file, ["fname", "labels"])
        path = f"FSDKaggle2019.audio_{part}/" + table["fname"]
        tables.append(pd.DataFrame({"path": path, "label": table["labels"], "split": split}))
    return pd.concat(tables)


@layout
def magnatagatune(folder: Path, *, tags: int = 50) -> pd.DataFrame:
    """List MagnaTagATune (Law et al. 2009) with the usual split by folder and most frequent tags.

    ``annotations_final.csv`` has ``clip_id``, one column of 0 and 1 per tag and ``mp3_path``,
    ``<folder>/<artist>-<album>-<track>-<title>-<start>-<end>.mp3``; a song is a group. The parts
    are those of the literature: folders 0 to b train, c validate, d to f test. Clips without any
    of the chosen tags are left out.

    Args:
        folder: With the CSV and the folders ``0`` to ``f``.
        tags: How many tags.
    """
    table = read_csv(needed(folder, "annotations_final.csv"), ["clip_id", "mp3_path"], sep="\t")
    hits = table.drop(columns=["clip_id", "mp3_path"]) == "1"
    chosen = hits.sum().sort_values(ascending=False, kind="stable").index[:tags]
    path = table["mp3_path"]
    found = pd.DataFrame({
        "path": path, "split": path.str[0].map(_MAGNATAGATUNE),
        "group": path.str.replace(r"-\d+-\d+\.mp3$", "", regex=True),
        "label": [",".join(chosen[row]) for row in hits[chosen].to_numpy()],
    })  # fmt: skip
    return found[found["label"] != ""]
