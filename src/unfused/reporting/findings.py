"""What a run has found: the best classifier of each task, where it fails, what it is worth.

The best one is chosen by its score on validation clips. Test scores choose nothing.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..data.label_sets import split_labels
from ..probes.choose_model import DEPLOYABLE, by_folds, comparable, model_to_use
from ..scores.intervals import difference, holm
from ..scores.metrics import is_ranked
from .names import PLAIN, STUDENT, baseline_of, is_control, protocol_name
from .summary import KEY, MEAN, checked_predictions, of_classifier, shown

BETTER, SAME, WORSE = "better", "no clear difference", "worse"
CHOSEN = "chosen"  # the plain alternative is the classifier that is used
LEVEL = 0.05
_CONFIDENT = 0.8  # probability from which a wrong answer makes the label suspect
_PAIRS, _CLIPS, _SUSPECTS = 3, 3, 6  # shown
_COMPARED = ["task", "question", "first", "second", "metric", "difference", "low", "high",
             "interval", "p_value"]  # fmt: skip
_FILE = ["path", "offset", "frames", "sample_rate"]
NOTHING = ""  # what a missed label is taken for, where no other was named instead


def best_of(rows: pd.DataFrame) -> pd.Series:
    """Return what :mod:`unfused.probes.choose_model` chooses for use of one task's shown rows."""
    usable = _usable(rows).fillna({"validation": -1.0})
    error = usable["validation_error"] / usable["n_folds"] ** 0.5
    return rows.loc[model_to_use(usable.assign(error=error))]


def _usable(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows among which it is chosen: without validation score only if none has one."""
    usable = rows[~rows["source"].map(is_control) & rows["protocol"].isin(DEPLOYABLE)]
    compared = usable[usable["validation"].notna()]
    return comparable(compared) if len(compared) else usable


def title_of(row: pd.Series) -> str:
    """Return what a classifier is called: encoder, read-out and protocol."""
    how = [row["read_out"], protocol_name(row["protocol"]).lower()]
    return f"{row['name']} ({', '.join(filter(None, how))})"


def compare(
    summary: pd.DataFrame,
    predictions: pd.DataFrame,
    *,
    teacher: str | None = None,
    n_draws: int = 2000,
) -> pd.DataFrame:
    """Make the planned comparisons, and no others.

    On every task: each method by itself against random weights with the same read-out, the student
    against its teacher, and the best classifier against the plain alternative. A method stands
    there with the read-out that validation clips prefer. The summary is what
    :func:`~unfused.reporting.summary.summarise` made of the predictions.

    Returns:
        ``task, question`` (``random``, ``teacher`` or ``plain``), ``first, second`` (names),
        ``metric, difference, low, high, interval`` (in words), ``p_value, p_holm`` (corrected for
        all rows) and ``outcome``: better, worse or no clear difference.
    """
    predictions, found = checked_predictions(predictions), []
    for task, rows in shown(summary).groupby("task", sort=False):
        for question, *pair in _planned(rows, teacher):
            first, second = (of_classifier(predictions, row) for row in pair)
            metric = pair[0]["metric"]
            gain = difference(first, second, metric, n=n_draws)
            found.append((task, question, *map(title_of, pair), metric, gain.value, gain.low,
                          gain.high, gain.text, gain.p_value))  # fmt: skip
    table = pd.DataFrame(found, columns=_COMPARED)
    clear = (p_holm := holm(table["p_value"])) < LEVEL
    signs = np.where(table["difference"] > 0, BETTER, WORSE)
    return table.assign(p_holm=p_holm, outcome=np.where(clear, signs, SAME))


def _planned(rows: pd.DataFrame, teacher: str | None) -> Iterator[tuple[str, pd.Series, pd.Series]]:
    """Yield what is compared on one task: the question, a classifier and its rival."""
    probed = rows[(rows["protocol"] == "linear_probe") & ~rows["source"].map(is_control)]
    chosen = {name: best_of(part) for name, part in probed.groupby("encoder", sort=False)}
    methods = {name: row for name, row in chosen.items() if baseline_of(str(name)) is None}
    alone = [name for name in methods if " + " not in name]  # random weights say nothing of a pair
    for name in alone:
        row = methods[name]
        same = probed[probed["read_out"] == row["read_out"]].set_index("encoder", drop=False)
        for rival in (f"random_init_{name}", "random_init"):
            if rival in same.index:
                yield "random", row, same.loc[rival]
                break
    if STUDENT in methods and teacher in methods:
        same = probed[probed["encoder"] == teacher]
        same = same[same["read_out"] == methods[STUDENT]["read_out"]]
        yield "teacher", methods[STUDENT], same.iloc[0] if len(same) else methods[teacher]
    best = best_of(rows)
    plain = _plain(rows, best)
    if plain is not None and plain is not best:
        yield "plain", best, plain


def _plain(rows: pd.DataFrame, best: pd.Series) -> pd.Series | None:
    """Return the plain alternative: the best one if that is plain, else that best on validation."""
    if baseline_of(best["encoder"]) in PLAIN:
        return best
    plain = rows["encoder"].map(baseline_of).isin(PLAIN) & (rows["protocol"] == "linear_probe")
    return best_of(rows[plain]) if plain.any() else None


def findings(
    summary: pd.DataFrame,
    comparisons: pd.DataFrame,
    predictions: pd.DataFrame,
    clips: Mapping[str, pd.DataFrame],
) -> list[dict[str, Any]]:
    """Return what was found on each task, as JSON values.

    Of the summary, its comparisons and the predictions; where these have a ``probability``, labels
    that look wrong are looked for. ``clips`` is task -> manifest: ``clip_id, label`` and where the
    audio is.

    Returns:
        For each task ``task``, ``n_classifiers`` (that were compared on validation clips),
        ``as_good`` (whether another one than the chosen has the best validation score),
        ``by_folds`` (whether folds chose, and so size did not), ``best`` (the summary row of the
        chosen one, its ``title`` and ``balanced`` accuracy), ``plain`` (the plain alternative and
        how the best one compares with it; None where it was not measured),
        ``classes`` (weakest first: ``label``, ``recall``, ``n_test``, ``n_labelled``), ``pairs``
        (of classes taken for each other, the most frequent first, with clips), ``suspects`` (clips
        whose label looks wrong).
    """
    predictions, found = checked_predictions(predictions), []
    for task, rows in shown(summary).groupby("task", sort=False):
        best, compared = best_of(rows), _usable(rows)
        answers = of_classifier(predictions, best)
        several = is_ranked(answers)
        manifest = clips[str(task)].drop_duplicates("clip_id").set_index("clip_id")
        files = manifest[[name for name in _FILE if name in manifest]]
        answers = answers.join(files, on="clip_id")
        if "probability" not in answers:
            answers["probability"] = np.nan
        found.append({
            "task": task,
            "n_classifiers": len(compared),
            "as_good": bool(best["validation"] < compared["validation"].max()),
            "by_folds": by_folds(compared),
            "several_labels": several,
            "best": _best(summary, best),
            "plain": _against_plain(best, rows, comparisons[comparisons["task"] == task]),
            "classes": _classes(answers, manifest["label"], several),
            "pairs": _pairs(answers, several),
            "suspects": [] if several else _suspects(answers),
        })  # fmt: skip
    return found


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return list(json.loads(table.to_json(orient="records")))


def _best(summary: pd.DataFrame, best: pd.Series) -> dict[str, Any]:
    others = of_classifier(summary, best).set_index("metric")["mean"]
    (row,) = _records(best.to_frame().T)
    return {**row, "title": title_of(best), "balanced": others.get("balanced_accuracy")}


def _against_plain(
    best: pd.Series, rows: pd.DataFrame, comparisons: pd.DataFrame
) -> dict[str, Any] | None:
    plain = _plain(rows, best)
    if plain is None:
        return None
    known = {"name": plain["name"], "title": title_of(plain), "mean": float(plain["mean"])}
    if plain is best:
        return {**known, "outcome": CHOSEN}
    columns = ["difference", "low", "high", "interval", "p_holm", "outcome"]
    (asked,) = _records(comparisons.loc[comparisons["question"] == "plain", columns])
    return known | asked


def _sets(labels: pd.Series, several: bool) -> pd.Series:
    return labels.map(split_labels) if several else labels.map(lambda label: [label])


def _classes(answers: pd.DataFrame, labels: pd.Series, several: bool) -> list[dict[str, Any]]:
    """Return how well each class is recognised, the weakest first."""
    said = _sets(answers["predicted"], several)
    truth = answers.assign(said=said, label=_sets(answers["label"], several)).explode("label")
    truth = truth.dropna(subset="label")
    right = [label in said for label, said in zip(truth["label"], truth["said"], strict=True)]
    grouped = truth.assign(right=right).groupby("label")
    labelled = labels[labels.notna() & (labels.astype(str) != "")].astype(str)
    counts = _sets(labelled, several).explode().value_counts()
    table = grouped.agg(recall=("right", "mean"), n_test=("clip_id", "nunique")).reset_index()
    table["n_labelled"] = table["label"].map(counts).fillna(0).astype(int)
    return _records(table.sort_values(["recall", "label"]))


def _pairs(answers: pd.DataFrame, several: bool) -> list[dict[str, Any]]:
    """Return which class is taken for which, the most frequent first, with clips to listen to."""
    truth, said = (_sets(answers[name], several) for name in ("label", "predicted"))
    wrong = answers.assign(
        missed=[sorted({*a} - {*b}) for a, b in zip(truth, said, strict=True)],
        instead=[sorted({*b} - {*a}) or [NOTHING] for a, b in zip(truth, said, strict=True)],
    )
    wrong = wrong.explode("missed").explode("instead").dropna(subset="missed")
    pairs = wrong.groupby(["missed", "instead"])
    sizes, found = pairs["clip_id"].nunique().sort_values(ascending=False, kind="stable"), []
    for (missed, instead), size in sizes.head(_PAIRS).items():
        clips = _playable(pairs.get_group((missed, instead)), missed, instead, _CLIPS)
        found.append({"label": missed, "predicted": instead, "n": int(size), "clips": clips})
    return found


def _suspects(answers: pd.DataFrame) -> list[dict[str, Any]]:
    """Return clips that every seed's classifier is sure of, and whose label says otherwise."""
    by_clip = answers.groupby("clip_id")
    sure = by_clip["probability"].min() >= _CONFIDENT
    agreed = by_clip["predicted"].nunique() == 1
    wrong = answers[(answers["label"] != answers["predicted"])
                    & answers["clip_id"].isin(sure.index[sure & agreed])]  # fmt: skip
    return _playable(wrong, wrong["label"], wrong["predicted"], _SUSPECTS)


def _playable(rows: pd.DataFrame, label: Any, predicted: Any, most: int) -> list[dict[str, Any]]:
    """Return clips with where their audio is, each once, the surest answer first."""
    rows = rows.assign(label=label, predicted=predicted)
    rows = rows.sort_values("probability", ascending=False, kind="stable")
    wanted = ["clip_id", "label", "predicted", "probability", *_FILE]
    kept = [name for name in wanted if name in rows]
    return _records(rows.drop_duplicates("clip_id")[kept].head(most))


def best_over_tasks(summary: pd.DataFrame) -> dict[str, Any] | None:
    """Return the row over all tasks of the classifier that is best on them by validation.

    None where no classifier was measured on every task.
    """
    means = summary[(summary["task"] == MEAN) & ~summary["source"].map(is_control)]
    validation = shown(summary).groupby(KEY[1:], sort=False)["validation"].mean()
    validation = validation[validation.index.isin(pd.MultiIndex.from_frame(means[KEY[1:]]))]
    if validation.isna().all():
        return None
    return dict(means.set_index(KEY[1:]).loc[validation.idxmax()])
