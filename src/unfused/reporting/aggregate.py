"""Result and prediction rows of a whole experiment -> one summary row per score with its interval.

One seed is one pre-training, clustering and student; its folds are pooled before scoring, so every
clip counts once. With three seeds or more the interval is Student's t over seeds; below that, or
where nothing depends on the seed, it is a bootstrap over test clips (or groups of them), which says
nothing about another training run.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import UserError
from ..core.progress import progress
from ..data.label_sets import label_counts
from ..scores.intervals import clip_bootstrap, ranking_interval, resampling_units, seed_interval
from ..scores.metrics import METRICS, count
from ..scores.ranking import RANKING_METRICS
from ..scores.ranking_bootstrap import is_ranked, ranked_runs
from .naming import MULTI_LABEL_METRICS, encoder_name, encoder_rank, protocol_rank, teacher_of

log = logging.getLogger(__name__)
KEY = ["task", "encoder", "source", "cut", "protocol"]
NO_INTERVAL = (float("nan"), float("nan"))
_RESULT_COLUMNS = [*KEY, "seed", "fold", "metric", "value"]
_PREDICTION_COLUMNS = [*KEY, "seed", "fold", "clip_id", "label", "predicted"]


def summarise(
    results: pd.DataFrame,
    predictions: pd.DataFrame,
    *,
    teacher: str | None = None,
    n_draws: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return one row per task, encoder, source, cut, protocol and metric.

    Args:
        results: Result rows, one per encoder, cut, protocol, seed, fold and metric.
        predictions: Prediction rows, one per test clip of each of those; may lack some encoders.
        teacher: The method that made the student's pseudo-labels; None: see
            :func:`~unfused.reporting.naming.teacher_of`.
        n_draws: Bootstrap resamples.
        seed: Seed of the bootstrap.

    Returns:
        The key and ``name, metric, mean, low, high, interval`` (in words), ``seed_low, seed_high,
        clip_low, clip_high`` (NaN where there is none), ``n_seeds, n_folds, n_test, n_groups,
        parameters, dimension, pretraining_clips, embedding, transductive, chance``. Scores are
        fractions.

    Raises:
        ValueError: A column is missing, or a clip was predicted twice by one encoder and seed.
    """
    results = _checked(results, _RESULT_COLUMNS, "result rows")
    predictions = checked_predictions(predictions)
    scored = dict(list(predictions.groupby(KEY, sort=False)))
    rows: list[dict[str, Any]] = []
    parts = results.groupby(KEY, sort=False)
    for key, part in progress(parts, total=len(parts), desc="intervals", unit="score"):
        facts = {**dict(zip(KEY, key, strict=True)), **_facts(part)}
        if key in scored:
            rows += _measured(facts, scored[key], n_draws, seed)
            part = part[~part["metric"].isin([*METRICS, *RANKING_METRICS])]
        rows += _without_predictions(facts, part)
    return _ordered(pd.DataFrame(rows), teacher)


def scored_by(summary: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the summary's rows of one metric, for multi-label tasks of what takes its place.

    Args:
        summary: Rows of :func:`summarise`.
        metric: A metric of single-label tasks.

    Raises:
        ValueError: There is no such row.
    """
    known = {metric, MULTI_LABEL_METRICS.get(metric, metric)}
    chosen = summary[summary["metric"].isin(known)] if len(summary) else summary
    if chosen.empty:
        names = sorted(summary["metric"].unique()) if len(summary) else []
        raise UserError(f"no summary row has metric={metric!r}; there are {names}")
    return chosen


def checked_predictions(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the prediction rows with text labels, after checking columns and repeats.

    Raises:
        ValueError: A column is missing, or a clip was predicted twice by one encoder and seed.
    """
    predictions = _checked(predictions, _PREDICTION_COLUMNS, "prediction rows")
    repeated = predictions.duplicated([*KEY, "seed", "clip_id"])
    if repeated.any():
        row = predictions[repeated].iloc[0]
        raise UserError(
            f"clip {row['clip_id']!r} was predicted more than once by {row['encoder']!r} (cut "
            f"{row['cut']!r}, seed {row['seed']}); each test clip belongs to one fold: remove the "
            "repeated rows or evaluate again"
        )
    return predictions


def scores_by_seed(predictions: pd.DataFrame, metric: str) -> pd.Series:
    """Return one score per seed, the folds of a seed pooled.

    Args:
        predictions: ``seed, label, predicted`` of one encoder and protocol on one task.
        metric: A name in :data:`~unfused.scores.metrics.METRICS`; for multi-label predictions
            one in :data:`~unfused.scores.ranking.RANKING_METRICS`, averaged over the folds,
            because scores of different classifiers cannot be ranked together.
    """
    ranked, scores = is_ranked(predictions), {}
    for seed, part in predictions.groupby("seed", sort=True):
        if ranked:
            observed = ranked_runs(part["clip_id"], part).observed(RANKING_METRICS[metric])
            scores[seed] = float(observed[0])
        else:
            scores[seed] = float(METRICS[metric](count(part["label"], part["predicted"])))
    return pd.Series(scores, dtype=float)


def over_seeds(values: np.ndarray) -> tuple[float, float]:
    """Return the t interval over seeds, (n,); NaN below three, or when no score depends on it."""
    if len(values) < 3 or np.ptp(values) < 1e-12:
        return NO_INTERVAL
    return seed_interval(values.tolist())


def _checked(table: pd.DataFrame, columns: list[str], what: str) -> pd.DataFrame:
    missing = [column for column in columns if column not in table]
    if missing:
        raise UserError(f"{what} lack the columns {missing}; they have {list(table.columns)}")
    texts = [column for column in ("source", "cut") if column in table]
    table = table.assign(**{column: table[column].fillna("").astype(str) for column in texts})
    labels = [column for column in ("label", "predicted") if column in table]
    return table.assign(**{column: table[column].astype(str) for column in labels})


def _facts(part: pd.DataFrame) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for column in ("parameters", "dimension", "embedding", "transductive"):
        values = part[column].dropna().unique() if column in part else []
        if len(values) > 1:
            row = part.iloc[0]
            log.warning("%s %s has several values of %s: %s; the first is shown",
                        row["task"], row["encoder"], column, list(values))  # fmt: skip
        facts[column] = values[0] if len(values) else None
    seen = part.get("pretraining_clips", pd.Series(dtype=float)).dropna()  # folds differ a little
    facts["pretraining_clips"] = round(float(seen.mean())) if len(seen) else None
    facts["n_seeds"] = part["seed"].nunique()
    facts["n_folds"] = part["fold"].nunique()
    return facts


def _measured(
    facts: dict[str, Any], predictions: pd.DataFrame, n_draws: int, seed: int
) -> list[dict[str, Any]]:
    ranked, chance = is_ranked(predictions), _chance(predictions)
    counts = {
        **facts,
        "n_test": predictions["clip_id"].nunique(),
        "n_groups": predictions["group"].nunique() if "group" in predictions else 0,
    }
    rows = []
    for metric in RANKING_METRICS if ranked else METRICS:
        values = scores_by_seed(predictions, metric).to_numpy()
        low, high = over_seeds(values)
        if metric != "d_prime":
            low, high = max(low, 0.0), min(high, 1.0)
        by_seed = (low, high) if np.isfinite(low) else NO_INTERVAL
        by_clip = _over_clips(predictions, metric, n_draws, seed)
        shown = _shown(by_seed, by_clip, len(values), counts["n_groups"])
        rows.append(
            {**counts, "metric": metric, "mean": values.mean(), **shown, "chance": chance[metric]}
        )
    return rows


def _over_clips(
    predictions: pd.DataFrame, metric: str, n_draws: int, seed: int
) -> tuple[float, float]:
    units = resampling_units(predictions)
    if metric in RANKING_METRICS:
        return ranking_interval(ranked_runs(units, predictions), metric, n=n_draws, seed=seed)
    return clip_bootstrap(
        predictions["label"], predictions["predicted"], units,
        runs=predictions["seed"], metric=metric, n=n_draws, seed=seed,
    )  # fmt: skip


def _shown(
    by_seed: tuple[float, float], by_clip: tuple[float, float], n_seeds: int, n_groups: int
) -> dict[str, Any]:
    (low, high), words = by_clip, "bootstrap over clips"
    if n_groups:
        words = f"bootstrap over clips (grouped: {n_groups} groups)"
    if np.isfinite(by_seed).all():
        (low, high), words = by_seed, f"t over {n_seeds} seeds"
    if not np.isfinite([low, high]).all():
        words = "none: one group of test clips" if n_groups else "none: a single test clip"
    return {
        **{"low": low, "high": high, "interval": words},
        **{"seed_low": by_seed[0], "seed_high": by_seed[1]},
        **{"clip_low": by_clip[0], "clip_high": by_clip[1]},
    }


def _without_predictions(facts: dict[str, Any], part: pd.DataFrame) -> list[dict[str, Any]]:
    """Summarise metrics that predictions do not give: folds are weighted by their test clips."""
    rows = []
    for metric, values in part.groupby("metric", sort=False):
        weight = values["n_test"] if "n_test" in values else pd.Series(1, index=values.index)
        weighted = (values["value"] * weight).groupby(values["seed"]).sum()
        per_seed = (weighted / weight.groupby(values["seed"]).sum()).to_numpy()
        low, high = over_seeds(per_seed)
        known = bool(np.isfinite(low))
        rows.append({
            **facts,
            "metric": metric,
            "mean": per_seed.mean(),
            **{"low": low, "high": high, "seed_low": low, "seed_high": high},
            "interval": f"t over {len(per_seed)} seeds" if known else "none: no predictions kept",
            "n_test": int(weight.groupby(values["seed"]).sum().max()),
            "n_groups": 0,
        })  # fmt: skip
    return rows


def _chance(predictions: pd.DataFrame) -> dict[str, float]:
    """Return what always answering the most frequent class, or the same scores, is worth."""
    labels = predictions.drop_duplicates("clip_id")["label"]
    if is_ranked(predictions):
        shares = np.array(list(label_counts(labels).values())) / len(labels)
        return {"mAP": float(shares.mean()), "auc": 0.5, "d_prime": 0.0}
    clips = labels.value_counts(normalize=True)
    share, n_classes = float(clips.iloc[0]), len(clips)
    f1 = 2 * share / (1 + share) / n_classes
    return {"accuracy": share, "balanced_accuracy": 1 / n_classes, "macro_f1": f1}


def _ordered(summary: pd.DataFrame, teacher: str | None) -> pd.DataFrame:
    if summary.empty:
        return summary
    teacher = teacher or teacher_of(summary["encoder"])
    pairs = list(zip(summary["encoder"], summary["source"], strict=True))
    summary.insert(5, "name", [encoder_name(*pair, teacher=teacher) for pair in pairs])
    order = pd.DataFrame({
        "task": summary["task"],
        "protocol": summary["protocol"].map(protocol_rank),
        "rank": [encoder_rank(*pair) for pair in pairs],
        "encoder": summary["encoder"],
        "source": summary["source"],
        "parameters": pd.to_numeric(summary["parameters"]).fillna(0),
        "metric": summary["metric"],
    })  # fmt: skip
    return summary.loc[order.sort_values(list(order)).index].reset_index(drop=True)
