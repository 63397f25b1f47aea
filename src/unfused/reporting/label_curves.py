"""Label efficiency in numbers: scores by number of labels, and the labels a method saves."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .aggregate import over_seeds
from .naming import MULTI_LABEL_METRICS, TEACHER_SOURCES, encoder_name

CURVE = ["task", "encoder", "source", "cut", "protocol"]


def label_curves(
    scores: pd.DataFrame, *, metric: str = "accuracy", teacher: str | None = None
) -> pd.DataFrame:
    """Return one row per encoder, protocol and label budget.

    Args:
        scores: Rows of :mod:`unfused.evaluation.label_efficiency` with a column ``task``.
        metric: Metric of single-label tasks; of multi-label ones what takes its place.
        teacher: Method that made the student's pseudo-labels.

    Returns:
        ``task, encoder, source, cut, protocol, budget, name, metric, n_labels`` (mean over folds
        and draws), ``mean, low, high, interval`` and ``n_seeds, n_draws``. With three seeds or more
        the interval is Student's t over seeds; below that the lowest and highest draw.
    """
    known = {metric, MULTI_LABEL_METRICS.get(metric, metric)}
    scores = scores[scores["metric"].isin(known) & scores["source"].isin(TEACHER_SOURCES)]
    rows = []
    for key, part in scores.groupby([*CURVE, "budget"], sort=False):
        by_draw = part.groupby(["seed", "draw"])["value"].mean()  # over the folds
        by_seed = by_draw.groupby("seed").mean().to_numpy()
        low, high = over_seeds(by_seed)
        words = f"t over {len(by_seed)} seeds"
        if not np.isfinite(low):
            low, high, words = by_draw.min(), by_draw.max(), f"range of {len(by_draw)} draws"
        rows.append({
            **dict(zip([*CURVE, "budget"], key, strict=True)),
            "name": encoder_name(key[1], key[2], teacher=teacher),
            "metric": part["metric"].iloc[0],
            "n_labels": part["n_labels"].mean(),
            "mean": by_seed.mean(), "low": low, "high": high, "interval": words,
            "n_seeds": len(by_seed), "n_draws": part["draw"].nunique(),
        })  # fmt: skip
    columns = [*CURVE, "n_labels"]
    return pd.DataFrame(rows).sort_values(columns, ignore_index=True) if rows else pd.DataFrame()


def labels_saved(curves: pd.DataFrame, *, reference: str = "supervised") -> pd.DataFrame:
    """Return how many labels each curve needs for what the reference does with all of its own.

    Between two budgets the score is taken as linear in the logarithm of the number of labels.

    Args:
        curves: Rows of :func:`label_curves`.
        reference: Encoder whose curve's last score is to be reached (``supervised``: training from
            scratch). A method with its own architecture is compared with the reference of that
            architecture where there is one.

    Returns:
        ``task, name, cut, protocol, reference, reference_labels, needed_labels`` (NaN where the
        curve never gets there; its first budget where it is there from the start) and ``share``,
        needed over the reference's.
    """
    rows = []
    for key, part in curves.groupby(CURVE, sort=False) if len(curves) else []:
        task, encoder = key[0], key[1]
        if encoder.startswith((reference, "random_init")):
            continue
        names = [f"{reference}_{encoder}", reference]
        same_task = curves[curves["task"] == task]
        found = next((n for n in names if (same_task["encoder"] == n).any()), None)
        if found is None:
            continue
        goal = same_task[same_task["encoder"] == found].iloc[-1]
        needed = _labels_for(part, goal["mean"])
        rows.append({
            "task": task, "name": part["name"].iloc[0], "cut": key[3], "protocol": key[4],
            "reference": goal["name"], "reference_labels": goal["n_labels"],
            "needed_labels": needed, "share": needed / goal["n_labels"],
        })  # fmt: skip
    return pd.DataFrame(rows)


def _labels_for(curve: pd.DataFrame, score: float) -> float:
    labels, means = np.log(curve["n_labels"].to_numpy(float)), curve["mean"].to_numpy(float)
    reached = np.flatnonzero(means >= score)
    if not len(reached):
        return float("nan")
    first = int(reached[0])
    if first == 0:
        return float(np.exp(labels[0]))
    before = first - 1
    part = (score - means[before]) / (means[first] - means[before])
    return float(np.exp(labels[before] + part * (labels[first] - labels[before])))
