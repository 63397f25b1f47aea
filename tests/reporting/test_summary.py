from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, f1_score

from unfused.reporting.summary import MEAN, of_classifier, shown, summarise
from unfused.scores.intervals import difference


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


def test_old_names_of_columns_are_taken_once(one_seed):
    results, predictions = one_seed
    new = [table.rename(columns={"cut": "read_out"}).assign(fitted_on="train")
           for table in one_seed]  # fmt: skip
    pd.testing.assert_frame_equal(
        summarise(results, predictions, n_draws=50), summarise(*new, n_draws=50)
    )


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
    summary = summarise(results, without, n_draws=50)
    means = summary[summary["task"] == MEAN].set_index("encoder")
    assert "decar" not in means.index
    of_tasks = summary[(summary["encoder"] == "supervised") & (summary["metric"] == "accuracy")]
    of_tasks = of_tasks[of_tasks["task"] != MEAN]
    row = means.loc["supervised"]
    assert row["mean"] == pytest.approx(of_tasks["mean"].mean())
    halves = (of_tasks["high"] - of_tasks["low"]) / 2
    assert row["high"] - row["mean"] == pytest.approx(np.sqrt((halves**2).sum()) / 2)
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


def test_from_three_seeds_on_seeds_have_to_agree_too():
    noisy = rows(0.62, seeds=(0, 1, 2)).copy()
    noisy.loc[(noisy["seed"] == 1) & (noisy["clip_id"] < "c2"), "predicted"] = "b"
    found = difference(noisy, rows(0.6, seeds=(0, 1, 2)), "accuracy", n=400)
    assert found.text == "t interval over 3 seeds"
    assert found.p_value > 0.05


def test_only_shared_clips_and_seeds_count():
    part = rows(0.5)
    part = part[part["clip_id"] < "c3"]
    found = difference(rows(0.7), part, "accuracy", n=50)
    both = rows(0.7)[rows(0.7)["clip_id"] < "c3"]
    right = [(table["label"] == table["predicted"]).mean() for table in (both, part)]
    assert found.value == pytest.approx(right[0] - right[1])
    with pytest.raises(ValueError, match="no test clip"):
        difference(rows(0.7), rows(0.7, seeds=(1,)), "accuracy")
