from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, f1_score

from unfused.reporting.aggregate import summarise


def chosen(summary, encoder="unfused", source="teacher", metric="accuracy", **where):
    where |= {"encoder": encoder, "source": source, "metric": metric}
    return summary[(summary[list(where)] == pd.Series(where)).all(axis=1)].iloc[0]


def student(predictions):
    return predictions[(predictions["encoder"] == "unfused") & (predictions["source"] == "teacher")]


def test_folds_of_a_seed_are_pooled_and_seeds_averaged(experiment):
    results, predictions = experiment(seeds=(0, 1, 2), folds=(1, 2, 3), n_test=100)
    row = chosen(summarise(results, predictions, n_draws=50))
    rows = student(predictions)
    per_seed = [
        (part["label"] == part["predicted"]).mean() for _, part in rows.groupby("seed")
    ]  # folds have 34, 33 and 33 clips, so the mean over folds would differ
    assert row["mean"] == pytest.approx(np.mean(per_seed))
    assert (row["n_seeds"], row["n_folds"], row["n_test"]) == (3, 3, 100)
    half = stats.t.ppf(0.975, 2) * stats.sem(per_seed)
    assert row["low"] == pytest.approx(np.mean(per_seed) - half)
    assert row["interval"] == "t over 3 seeds"
    assert row["clip_low"] < row["mean"] < row["clip_high"]


def test_other_metrics_agree_with_sklearn(one_seed):
    results, predictions = one_seed
    summary, rows = summarise(results, predictions, n_draws=50), student(predictions)
    score = balanced_accuracy_score(rows["label"], rows["predicted"])
    assert chosen(summary, metric="balanced_accuracy")["mean"] == pytest.approx(score)
    score = f1_score(rows["label"], rows["predicted"], average="macro")
    assert chosen(summary, metric="macro_f1")["mean"] == pytest.approx(score)


def test_one_seed_gets_the_grouped_bootstrap_and_says_so(experiment, one_seed):
    row = chosen(summarise(*one_seed, n_draws=200))
    assert row["interval"] == "bootstrap over clips (grouped: 12 groups)"
    assert np.isnan(row["seed_low"])
    assert (row["low"], row["high"]) == (row["clip_low"], row["clip_high"])
    ungrouped = summarise(*experiment(n_groups=0), n_draws=200)
    assert chosen(ungrouped)["interval"] == "bootstrap over clips"


def test_two_seeds_are_too_few_for_a_seed_interval(experiment):
    row = chosen(summarise(*experiment(seeds=(0, 1)), n_draws=100))
    assert row["interval"].startswith("bootstrap")
    assert row["n_seeds"] == 2


def test_seeds_that_agree_exactly_do_not_make_a_zero_interval(experiment):
    results, predictions = experiment(seeds=(0, 1, 2))
    first = predictions[predictions["seed"] == 0]
    same = pd.concat([first.assign(seed=seed) for seed in (0, 1, 2)])
    row = chosen(summarise(results, same, n_draws=100))
    assert row["interval"].startswith("bootstrap")
    assert row["high"] > row["low"]


def test_a_single_group_has_no_interval(experiment):
    row = chosen(summarise(*experiment(n_groups=1), n_draws=50))
    assert np.isnan(row["low"])
    assert row["interval"] == "none: one group of test clips"


def test_rows_without_predictions_are_kept_without_a_clip_interval(one_seed):
    results, predictions = one_seed
    extra = results[results["encoder"] == "random_init"].assign(metric="top_3", value=0.5)
    summary = summarise(pd.concat([results, extra]), predictions, n_draws=50)
    row = chosen(summary, "random_init", "", "top_3", cut="fc2")
    assert row["mean"] == 0.5
    assert row["interval"] == "none: no predictions kept"
    nothing = predictions.iloc[:0]
    assert len(summarise(results, nothing)) == 11


def test_rows_are_named_and_ordered_for_reading(one_seed):
    summary = summarise(*one_seed, n_draws=50)
    names = list(dict.fromkeys(summary["name"]))
    assert names == [
        "Random init",
        "Log-mel statistics",
        "Supervised from scratch",
        "DECAR-v2 teacher",
        "Self-distilled on pseudo-labels of a random encoder",
        "Self-distilled on pseudo-labels of log-mel statistics",
        "Self-distilled on shuffled pseudo-labels",
        "UnFuSeD student",
        "UnFuSeD full",
    ]
    results, predictions = one_seed
    other = {"decar": "byol_a"}
    summary = summarise(results.replace(other), predictions.replace(other), n_draws=50)
    assert "BYOL-A teacher" in set(summary["name"])


def test_chance_is_the_most_frequent_class(one_seed):
    _, predictions = one_seed
    row = chosen(summarise(*one_seed, n_draws=50))
    assert row["chance"] == student(predictions)["label"].value_counts(normalize=True).iloc[0]


def test_errors_name_what_is_wrong(one_seed):
    results, predictions = one_seed
    with pytest.raises(ValueError, match=r"lack the columns \['metric'\]"):
        summarise(results.drop(columns="metric"), predictions)
    with pytest.raises(ValueError, match="predicted more than once"):
        summarise(results, pd.concat([predictions, predictions.head(1)]))
