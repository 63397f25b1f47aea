from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit, logit
from sklearn.metrics import balanced_accuracy_score, f1_score

from unfused.core.errors import UserError
from unfused.reporting.summary import MEAN, of_classifier, shown, summarise
from unfused.scores.intervals import difference


def chosen(summary, encoder="unfused", source="teacher", metric="accuracy", **where):
    where |= {"encoder": encoder, "source": source, "metric": metric}
    return summary[(summary[list(where)] == pd.Series(where)).all(axis=1)].iloc[0]


def student(predictions):
    return predictions[(predictions["encoder"] == "unfused") & (predictions["source"] == "teacher")]


def variances_of(rows):
    """Of the accuracy's mean over seeds, by the choice of groups (linearised) and of seeds."""
    right = (rows["label"] == rows["predicted"]).astype(float)
    by_seed, groups = right.groupby(rows["seed"]).mean(), right.groupby(rows["group"])
    residuals = groups.sum() - by_seed.mean() * groups.size()
    n = len(residuals)
    return (residuals**2).sum() / len(rows) ** 2 * n / (n - 1), by_seed.var() / len(by_seed)


def half_width(of_clips, of_seeds, n_groups, n_seeds):
    """Half of Welch's 95 % interval of a sum of errors; ``of_clips`` has one for each task."""
    parts = [(variance, n_groups - 1) for variance in of_clips] + [(of_seeds, n_seeds - 1)]
    total = sum(variance for variance, _ in parts)
    df = total**2 / sum(variance**2 / df for variance, df in parts)
    return stats.t.ppf(0.975, df) * total**0.5


def test_folds_of_a_seed_are_pooled_and_seeds_averaged(experiment):
    results, predictions = experiment(seeds=(0, 1, 2), folds=(1, 2, 3), n_test=100)
    row = chosen(summarise(results, predictions, n_draws=4000))
    rows = student(predictions)
    per_seed = [
        (part["label"] == part["predicted"]).mean() for _, part in rows.groupby("seed")
    ]  # folds have 34, 33 and 33 clips, so the mean over folds would differ
    assert row["mean"] == pytest.approx(np.mean(per_seed))
    assert (row["n_seeds"], row["n_folds"], row["n_test"]) == (3, 3, 100)
    mean, (of_clips, of_seeds) = np.mean(per_seed), variances_of(rows)
    half = half_width([of_clips], of_seeds, 12, 3) / (mean * (1 - mean))  # on the logit scale
    assert row["low"] == pytest.approx(expit(logit(mean) - half), abs=0.005)
    assert row["high"] == pytest.approx(expit(logit(mean) + half), abs=0.005)
    assert row["interval"] == "Student's t over 12 groups and 3 seeds"


def test_other_metrics_agree_with_sklearn(one_seed):
    results, predictions = one_seed
    summary, rows = summarise(results, predictions, n_draws=50), student(predictions)
    score = balanced_accuracy_score(rows["label"], rows["predicted"])
    assert chosen(summary, metric="balanced_accuracy")["mean"] == pytest.approx(score)
    score = f1_score(rows["label"], rows["predicted"], average="macro")
    assert chosen(summary, metric="macro_f1")["mean"] == pytest.approx(score)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"n_groups": 12}, "Student's t over 12 groups"),
        ({"n_groups": 0}, "Student's t over 300 clips"),
        ({"n_groups": 3}, "Student's t over 3 groups"),
        ({"n_groups": 1}, "no interval over 1 group"),
        ({"seeds": (0, 1)}, "Student's t over 12 groups and 2 seeds"),
    ],
)
def test_intervals_are_named_for_what_they_are(experiment, given, named):
    row = chosen(summarise(*experiment(**given), n_draws=100))
    assert row["interval"] == named
    assert np.isnan(row["low"]) == (given.get("n_groups") == 1)


def test_seeds_that_agree_exactly_do_not_make_a_zero_interval(experiment):
    results, predictions = experiment(seeds=(0, 1, 2))
    first = predictions[predictions["seed"] == 0]
    same = pd.concat([first.assign(seed=seed) for seed in (0, 1, 2)])
    row = chosen(summarise(results, same, n_draws=100))
    assert row["interval"].startswith("Student's t over 12 groups")
    assert row["high"] > row["low"]


def test_rows_are_named_and_ordered_for_reading(one_seed):
    summary = summarise(*one_seed, teacher="decar", n_draws=50)
    assert list(dict.fromkeys(summary["name"])) == [
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


def test_chance_is_the_most_frequent_class(one_seed):
    _, predictions = one_seed
    row = chosen(summarise(*one_seed, n_draws=50))
    assert row["chance"] == student(predictions)["label"].value_counts(normalize=True).iloc[0]


def test_what_was_fitted_again_on_validation_clips_is_shown(one_seed):
    tables = [table[table["encoder"] == "decar"] for table in one_seed]
    both = [pd.concat([table.assign(fitted_on="train"), table.assign(fitted_on="train+valid")])
            for table in tables]  # fmt: skip
    summary = summarise(*both, n_draws=50)
    assert (summary["metric"] == "accuracy").sum() == 4
    rows = shown(summary)
    assert rows["fitted_on"].tolist() == ["train+valid"] * 2
    assert len(of_classifier(summary, rows.iloc[0])) == 3  # metrics


def test_the_mean_over_tasks_is_that_of_those_who_have_all_of_them(three_seeds):
    results, predictions = three_seeds
    without = predictions[(predictions["encoder"] != "decar") | (predictions["task"] == "NS")]
    summary = summarise(results, without, n_draws=2000)
    means = summary[summary["task"] == MEAN].set_index("encoder")
    assert "decar" not in means.index
    of_tasks = summary[(summary["encoder"] == "supervised") & (summary["metric"] == "accuracy")]
    of_tasks = of_tasks[of_tasks["task"] != MEAN]
    row = means.loc["supervised"]
    assert row["mean"] == pytest.approx(of_tasks["mean"].mean())
    rows = predictions[predictions["encoder"] == "supervised"]
    right = (rows["label"] == rows["predicted"]).groupby([rows["task"], rows["seed"]]).mean()
    of_seeds = right.groupby("seed").mean().var() / 3  # a seed's luck is shared by its tasks
    of_clips = [variances_of(part)[0] / 2**2 for _, part in rows.groupby("task")]
    half = half_width(of_clips, of_seeds, 12, 3)
    assert row["high"] - row["mean"] == pytest.approx(half, rel=0.05)
    assert row["mean"] - row["low"] == pytest.approx(half, rel=0.05)
    assert MEAN not in set(shown(summary)["task"])


def test_errors_name_what_is_wrong(one_seed):
    results, predictions = one_seed
    with pytest.raises(ValueError, match=r"lack the columns \['metric'\]"):
        summarise(results.drop(columns="metric"), predictions)
    with pytest.raises(ValueError, match="more than once"):
        summarise(results, pd.concat([predictions, predictions.head(1)]))


def rows(share, *, seeds=(0,), n=400, seed=0):
    luck = np.random.default_rng(seed).random(n)
    parts = []
    for number in seeds:
        hit = luck < share + 0.004 * number
        parts.append(pd.DataFrame({
            "seed": number, "fold": 0, "clip_id": [f"c{i}" for i in range(n)],
            "label": "a", "predicted": np.where(hit, "a", "b"),
        }))  # fmt: skip
    return pd.concat(parts)


@pytest.mark.parametrize(("a", "b", "clear"), [(0.7, 0.5, 1), (0.5, 0.7, -1), (0.601, 0.6, 0)])
def test_a_difference_is_clear_or_not(a, b, clear):
    found = difference(rows(a), rows(b), "accuracy", n=2000)
    assert found.low <= found.value <= found.high
    assert (found.p_value < 0.05) == bool(clear)
    assert np.sign(found.value) == clear or not clear


def test_pairing_makes_the_interval_narrower_than_two_separate_ones():
    paired = difference(rows(0.65), rows(0.6), "accuracy", n=400)
    apart = difference(rows(0.65, seed=1), rows(0.6, seed=2), "accuracy", n=400)
    assert paired.high - paired.low < 0.6 * (apart.high - apart.low)


def test_seeds_have_to_agree_too():
    noisy = rows(0.62, seeds=(0, 1, 2)).copy()
    noisy.loc[(noisy["seed"] == 1) & (noisy["clip_id"] < "c2"), "predicted"] = "b"
    found = difference(noisy, rows(0.6, seeds=(0, 1, 2)), "accuracy", n=400)
    assert found.text == "Student's t over 400 clips and 3 seeds"
    assert found.p_value > 0.05
    steady = difference(rows(0.62, seeds=(0, 1, 2)), rows(0.6, seeds=(0, 1, 2)), "accuracy", n=400)
    assert steady.p_value < 0.05


def test_only_the_same_clips_are_compared_and_only_shared_seeds_count():
    part = rows(0.5)
    with pytest.raises(UserError, match="177 clips stand in one table only"):
        difference(rows(0.7), part[part["clip_id"] < "c3"], "accuracy")
    found = difference(rows(0.7, seeds=(0, 1, 2)), rows(0.5, seeds=(1, 2, 3)), "accuracy", n=50)
    shared = [rows(share, seeds=(1, 2)) for share in (0.7, 0.5)]
    right = [(table["label"] == table["predicted"]).mean() for table in shared]
    assert found.value == pytest.approx(right[0] - right[1])
    assert found.n_seeds == 2
    with pytest.raises(UserError, match="share no seed"):
        difference(rows(0.7, seeds=(0, 1)), rows(0.7, seeds=(2, 3)), "accuracy")
