"""What a corpus holds, in numbers."""

from __future__ import annotations

import pandas as pd

_PARTS = ("train", "valid", "test", "unlabelled", "excluded")


def data_card(
    manifest: pd.DataFrame, splits: pd.DataFrame, rejected: pd.DataFrame, *, hours: float
) -> pd.DataFrame:
    """Return one row per fold: clips of each part, classes, groups, hours and rejected files.

    Args:
        manifest: Clips that can be used.
        splits: Columns clip_id, fold, split and made_by.
        rejected: Files that cannot.
        hours: Length of all usable audio.
    """
    rows = []
    for fold, of_fold in splits.groupby("fold"):
        counts = of_fold["split"].value_counts()
        rows.append(
            {
                "fold": fold,
                **{part: int(counts.get(part, 0)) for part in _PARTS},
                "classes": manifest["label"].nunique(),
                "groups": manifest["group"].nunique(),
                "hours": round(hours, 2),
                "rejected": len(rejected),
                "split": ", ".join(sorted(of_fold["made_by"].astype(str).unique())),
            }
        )
    return pd.DataFrame(rows)
