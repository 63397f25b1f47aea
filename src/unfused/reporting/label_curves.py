"""Label efficiency in numbers: scores by number of labels, and the labels a method saves."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .aggregate import over_seeds
from .naming import MULTI_LABEL_METRICS, TEACHER_SOURCES, encoder_name

CURVE = ["task", "encoder", "source", "cut", "protocol"]
SAVED = [
    "task", "name", "cut", "protocol",
    "reference", "reference_labels", "needed_labels", "share",
]  # fmt: skip


def label_curves(
    scores: pd.DataFrame, *, metric: str = "accuracy", teacher: str | None = None
) -> pd.DataFrame:
    """Return one row per encoder, protocol and label budget.

    Args:
        scores: Rows of :mod:`unfused.probes.label_efficiency` with a column ``task``.
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


def labels_saved(curves: pd.DataFrame) -> pd.DataFrame:
    """Return how many labels each curve needs for what its reference does with all of its own.

    The reference is training from scratch (``supervised``), of a method with an architecture of its
    own that architecture from scratch; where nothing was trained from scratch it is the same probe
    of a random encoder at the same cut. Between two budgets the score is taken as linear in the
    logarithm of the number of labels.

    Args:
        curves: Rows of :func:`label_curves`.

    Returns:
        One row per curve that has a reference: ``task, name, cut, protocol, reference,
        reference_labels, needed_labels`` (NaN where the curve never gets there; its first budget
        where it is there from the start) and ``share``, needed over the reference's.
    """
    rows = []
    for key, part in curves.groupby(CURVE, sort=False) if len(curves) else []:
        reference = _reference(curves[curves["task"] == key[0]], key[1], key[3], key[4])
        if reference is None:
            continue
        goal = reference.iloc[-1]
        needed = _labels_for(part, goal["mean"])
        known = key[0], part["name"].iloc[0], key[3], key[4], goal["name"], goal["n_labels"]
        rows.append((*known, needed, needed / goal["n_labels"]))
    return pd.DataFrame(rows, columns=SAVED)


def _reference(
    same_task: pd.DataFrame, encoder: str, cut: str, protocol: str
) -> pd.DataFrame | None:
    """Return the curve that one of ``encoder`` is measured by; None where there is none."""
    if encoder.startswith(("supervised", "random_init")):
        return None
    for name in (f"supervised_{encoder}", "supervised"):
        scratch = same_task[same_task["encoder"] == name]
        if len(scratch):
            return scratch
    probed = same_task[(same_task["cut"] == cut) & (same_task["protocol"] == protocol)]
    for name in (f"random_init_{encoder}", "random_init"):
        random = probed[probed["encoder"] == name]
        if len(random):
            return random
    return None


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
