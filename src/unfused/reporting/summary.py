"""Rows of a whole experiment -> one row per score, with its interval; a corpus in numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import sem, t

from ..core.errors import UserError
from ..core.progress import progress
from ..data.label_sets import label_counts
from ..data.manifest import class_counts, groups_of
from ..probes.choose_model import DEPLOYABLE, model_to_use
from ..scores.intervals import Interval, interval, mean_over_tasks
from ..scores.metrics import is_ranked, metrics_of
from .names import CHOSEN, MAIN_METRICS, encoder_name, encoder_rank, is_control, protocol_rank

KEY = ["task", "encoder", "source", "read_out", "protocol", "fitted_on"]
"""What one classifier is: ``fitted_on`` is ``train`` or, fitted again, ``train+valid``."""
MEAN = "mean over tasks"  # the task in rows about all of them
_PARTS = ["train", "valid", "test", "unlabelled", "excluded"]
_TRAINING = (*KEY, "seed", "fold")
_CHOOSES = ("validation", "validation_error", "parameters", "chosen_on")
_RESULTS = (*_TRAINING, "metric", "value", *_CHOOSES)
_PREDICTIONS = (*_TRAINING, "clip_id", "label", "predicted")
_FACTS = dict.fromkeys(("n_train", "n_valid", "pretraining_clips", "validation"), "mean")
_FACTS |= dict.fromkeys(("dimension", "parameters", "chosen_on", "transductive"), "first")
_FACTS |= dict.fromkeys(("licence", "pretraining_data"), "first")


def checked_results(results: pd.DataFrame) -> pd.DataFrame:
    """Return result rows, names as text; UserError where a column is missing."""
    return _at_the_entrance(results, _RESULTS, "result rows")


def checked_predictions(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return prediction rows under the names of this room, labels as text.

    Raises:
        UserError: A column is missing, or a classifier answered twice for a clip.
    """
    rows = _at_the_entrance(predictions, _PREDICTIONS, "prediction rows")
    rows = rows.assign(label=rows["label"].astype(str), predicted=rows["predicted"].astype(str))
    repeated = rows[rows.duplicated([*KEY, "seed", "clip_id"])]
    if len(repeated):
        row = repeated.iloc[0]
        raise UserError(
            f"clip {row['clip_id']!r} was predicted more than once by {row['encoder']!r} (seed "
            f"{row['seed']}); each test clip belongs to one fold: evaluate again"
        )
    return rows


def _at_the_entrance(table: pd.DataFrame, needed: Sequence[str], what: str) -> pd.DataFrame:
    if missing := [name for name in needed if name not in table]:
        raise UserError(f"{what} lack the columns {missing}; they have {list(table.columns)}")
    return table.assign(**{name: table[name].fillna("").astype(str) for name in KEY})


def summarise(
    results: pd.DataFrame,
    predictions: pd.DataFrame,
    *,
    teacher: str | None = None,
    n_draws: int = 2000,
) -> pd.DataFrame:
    """Return one row per classifier and metric, and those of classifiers over all tasks.

    There is a result row for each classifier, seed, fold and metric, and a prediction row for each
    test clip of those; ``teacher`` made the student's pseudo-labels.

    Returns:
        :data:`KEY`, ``name, metric, mean, low, high, interval`` (in words), ``n_seeds, n_test,
        n_groups, n_folds, chance`` (the score of always naming the most frequent class; of several
        labels, of equal scores for all clips), ``validation`` (mean score on validation clips, NaN
        where there were none), ``validation_error`` (standard error of one fold's: root mean square
        over folds, mean over seeds) and what the result rows say: sizes, clips, licence.

    Raises:
        UserError: A column is missing, or a clip was predicted twice.
    """
    results, predictions = checked_results(results), checked_predictions(predictions)
    facts = {name: how for name, how in _FACTS.items() if name in results}
    known = results.groupby(KEY, sort=False).agg({"fold": "nunique", **facts})
    known = known.rename(columns={"fold": "n_folds"})
    squares = results.assign(square=results["validation_error"] ** 2)
    errors = squares.groupby([*KEY, "seed"], sort=False)["square"].mean() ** 0.5
    known["validation_error"] = errors.groupby(KEY).mean()
    parts, rows = dict(list(predictions.groupby(KEY, sort=False))), []
    for key, part in progress(parts.items(), total=len(parts), desc="intervals", unit="classifier"):
        chance = _chance(part)
        for metric in metrics_of(part):
            found = interval(part, metric, n=n_draws)
            rows.append(_row(key, metric, found, part) | {"chance": chance[metric]})
    tasks = list(dict.fromkeys(predictions["task"]))
    for classifier in dict.fromkeys(key[1:] for key in parts) if len(tasks) > 1 else ():
        whole = {task: parts[task, *classifier] for task in tasks if (task, *classifier) in parts}
        metric, *others = {metrics_of(part)[0] for part in whole.values()}
        if len(whole) == len(tasks) and not others:
            found = mean_over_tasks(whole, metric=metric, n=n_draws)
            rows.append(_row((MEAN, *classifier), metric, found, pd.concat(whole.values())))
    return _ordered(pd.DataFrame(rows).merge(known, on=KEY, how="left"), teacher)


def _row(
    key: tuple[str, ...], metric: str, found: Interval, predictions: pd.DataFrame
) -> dict[str, Any]:
    return {
        **dict(zip(KEY, key, strict=True)), "metric": metric, "mean": found.value,
        "low": found.low, "high": found.high, "interval": found.text, "n_seeds": found.n_seeds,
        "n_test": predictions["clip_id"].nunique(),
        "n_groups": predictions["group"].nunique() if "group" in predictions else 0,
    }  # fmt: skip


def shown(summary: pd.DataFrame) -> pd.DataFrame:
    """Return what people see: the main metric, once per classifier, fitted again if it was."""
    rows = summary[summary["metric"].isin(MAIN_METRICS) & (summary["task"] != MEAN)]
    again = rows.sort_values("fitted_on", ascending=False, kind="stable")  # train+valid, train
    return rows.loc[again.drop_duplicates(KEY[:-1]).index.sort_values()]


def of_classifier(table: pd.DataFrame, row: pd.Series | dict) -> pd.DataFrame:
    """Return the summary or prediction rows of one classifier, whose :data:`KEY` a row has."""
    same = [table[name].to_numpy(dtype=object) == row[name] for name in KEY]
    return table[np.logical_and.reduce(same)]


def _chance(predictions: pd.DataFrame) -> dict[str, float]:
    """Return what always answering the most frequent class, or the same scores, is worth."""
    labels = predictions.drop_duplicates("clip_id")["label"]
    if is_ranked(predictions):
        counts = label_counts(labels)
        return {"mAP": sum(counts.values()) / len(counts) / len(labels), "auc": 0.5, "d_prime": 0.0}
    clips = labels.value_counts(normalize=True)
    share, n_classes = float(clips.iloc[0]), len(clips)
    f1 = 2 * share / (1 + share) / n_classes
    return {"accuracy": share, "balanced_accuracy": 1 / n_classes, "macro_f1": f1}


def _ordered(summary: pd.DataFrame, teacher: str | None) -> pd.DataFrame:
    pairs = list(zip(summary["encoder"], summary["source"], strict=True))
    summary.insert(6, "name", [encoder_name(*pair, teacher=teacher) for pair in pairs])
    order = pd.DataFrame({
        "task": pd.factorize(summary["task"])[0],  # as in the results
        "protocol": summary["protocol"].map(protocol_rank),
        "rank": [encoder_rank(*pair) for pair in pairs],
        **{name: summary[name] for name in ("encoder", "source", "parameters") if name in summary},
    })  # fmt: skip
    return summary.loc[order.sort_values(list(order), kind="stable").index].reset_index(drop=True)


def label_curves(scores: pd.DataFrame, *, teacher: str | None = None) -> pd.DataFrame:
    """Return one row per encoder, protocol and label budget, and of what would be chosen of them.

    Scores are rows of :mod:`unfused.probes.label_efficiency` with a column ``task``. The encoder
    ``chosen`` is what a user with so few labels gets: of each draw the one that its own folds say.

    Returns:
        ``task, encoder, source, read_out, protocol, budget, name, metric, n_labels`` (mean over
        folds and draws), ``mean, low, high, interval, n_seeds, n_draws``. With three seeds or more
        the interval is Student's t over seeds; below that the lowest and highest draw.
    """
    scores = scores[scores["metric"].isin(MAIN_METRICS) & ~scores["source"].map(is_control)]
    scores = pd.concat([scores, _chosen(scores)], ignore_index=True)
    classifier, rows = KEY[:-1], []
    for key, part in scores.groupby([*classifier, "budget"], sort=False):
        by_draw = part.groupby(["seed", "draw"])["value"].mean()  # over the folds
        by_seed = by_draw.groupby("seed").mean().to_numpy()
        low, high, words = by_draw.min(), by_draw.max(), f"range of {len(by_draw)} draws"
        if len(by_seed) >= 3:
            low, high = t.interval(0.95, len(by_seed) - 1, by_seed.mean(), sem(by_seed))
            words = f"t interval over {len(by_seed)} seeds"
        rows.append({
            **dict(zip([*classifier, "budget"], key, strict=True)),
            "name": encoder_name(key[1], key[2], teacher=teacher),
            "metric": part["metric"].iloc[0], "n_labels": part["n_labels"].mean(),
            "mean": by_seed.mean(), "low": low, "high": high, "interval": words,
            "n_seeds": len(by_seed), "n_draws": part["draw"].nunique(),
        })  # fmt: skip
    return pd.DataFrame(rows).sort_values([*classifier, "n_labels"]) if rows else pd.DataFrame()


def _chosen(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of what would be chosen in each draw."""
    usable = scores[scores["protocol"].isin(DEPLOYABLE) & scores["validation"].notna()]
    usable = usable.assign(error=usable["validation_error"]).reset_index(drop=True)
    draws = [part for _, part in usable.groupby(["task", "seed", "fold", "budget", "draw"])]
    chosen = [part.loc[[model_to_use(part)]] for part in draws if len(part) > 1]
    found = pd.concat([usable[:0], *chosen])
    return found.assign(encoder=CHOSEN, source="", read_out="")


def data_card(
    manifest: pd.DataFrame, splits: pd.DataFrame, rejected: pd.DataFrame, *, hours: float
) -> pd.DataFrame:
    """Return one row per fold: clips of each part, classes, their groups, hours and rejected files.

    The manifest has the clips that can be used; splits have columns clip_id, fold, split, made_by.
    """
    by_fold = splits.groupby("fold")
    made_by = by_fold["made_by"].agg(lambda names: ", ".join(sorted(names.astype(str).unique())))
    groups = groups_of(manifest[manifest["label"].notna()])
    counts = by_fold["split"].value_counts().unstack().reindex(columns=_PARTS)
    return counts.fillna(0).astype(int).reset_index().assign(
        classes=len(class_counts(manifest)), groups=0 if groups is None else len(set(groups)),
        hours=round(hours, 2), rejected=len(rejected), split=made_by.to_numpy(),
    )  # fmt: skip
