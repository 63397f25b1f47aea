"""Learning curves on disk, one row per logged step."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

_FILE = "history.parquet"


def save_history(folder: Path, history: pd.DataFrame) -> None:
    """Write the curve of a finished training beside what it made."""
    history.to_parquet(folder / _FILE)


def load_history(folder: Path, **labels: object) -> pd.DataFrame:
    """Read a curve, with columns added that say whose it is."""
    return pd.read_parquet(folder / _FILE).assign(**labels)
