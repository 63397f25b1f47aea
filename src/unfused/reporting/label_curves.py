"""Label efficiency in numbers: scores by number of labels."""

from __future__ import annotations

import pandas as pd
from scipy.stats import sem, t

from .names import MAIN_METRICS, encoder_name, is_control

CURVE = ["task", "encoder", "source", "read_out", "protocol"]


def label_curves(scores: pd.DataFrame, *, teacher: str | None = None) -> pd.DataFrame:
    """Return one row per encoder, protocol and label budget.

    Args:
        scores: Rows of :mod:`unfused.probes.label_efficiency` with a column ``task``.
        teacher: Method that made the student's pseudo-labels.

    Returns:
        ``task, encoder, source, read_out, protocol, budget, name, metric, n_labels`` (mean over
        folds and draws), ``mean, low, high, interval, n_seeds, n_draws``. With three seeds or more
        the interval is Student's t over seeds; below that the lowest and highest draw.
    """
    scores = scores.rename(columns={"cut": "read_out"})
    scores = scores[scores["metric"].isin(MAIN_METRICS) & ~scores["source"].map(is_control)]
    rows = []
    for key, part in scores.groupby([*CURVE, "budget"], sort=False):
        by_draw = part.groupby(["seed", "draw"])["value"].mean()  # over the folds
        by_seed = by_draw.groupby("seed").mean().to_numpy()
        low, high, words = by_draw.min(), by_draw.max(), f"range of {len(by_draw)} draws"
        if len(by_seed) >= 3:
            low, high = t.interval(0.95, len(by_seed) - 1, by_seed.mean(), sem(by_seed))
            words = f"t interval over {len(by_seed)} seeds"
        rows.append({
            **dict(zip([*CURVE, "budget"], key, strict=True)),
            "name": encoder_name(key[1], key[2], teacher=teacher),
            "metric": part["metric"].iloc[0], "n_labels": part["n_labels"].mean(),
            "mean": by_seed.mean(), "low": low, "high": high, "interval": words,
            "n_seeds": len(by_seed), "n_draws": part["draw"].nunique(),
        })  # fmt: skip
    return pd.DataFrame(rows).sort_values([*CURVE, "n_labels"]) if rows else pd.DataFrame()
