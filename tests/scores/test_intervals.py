import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from unfused.scores import metrics
from unfused.scores.intervals import (
    clip_bootstrap,
    paired_bootstrap,
    resampling_units,
    run_names,
    seed_interval,
)


def table(right: np.ndarray, **columns: object) -> pd.DataFrame:
    n = len(right)
    labels = np.arange(n) % 2
    return pd.DataFrame(
        {
            "clip_id": [f"c{i}" for i in range(n)],
            "label": labels.astype(str),
            "predicted": np.where(right, labels, 1 - labels).astype(str),
            **columns,
        }
    )


def interval(rows: pd.DataFrame, **settings):
    return clip_bootstrap(rows["label"], rows["predicted"], **settings)


def test_seed_interval_by_hand():
    low, high = seed_interval([0.5, 0.6, 0.7])
    half = 4.302652729911275 * 0.1 / math.sqrt(3)
    assert (low, high) == pytest.approx((0.6 - half, 0.6 + half))


def test_two_seeds_are_too_few():
    with pytest.raises(ValueError, match="at least 3 seeds, got 2"):
        seed_interval([0.5, 0.6])


def test_many_clips_approach_the_normal_interval():
    rows = table(np.arange(2000) % 5 != 0)
    low, high = interval(rows)
    half = 1.96 * math.sqrt(0.8 * 0.2 / 2000)
    assert low == pytest.approx(0.8 - half, abs=0.003)
    assert high == pytest.approx(0.8 + half, abs=0.003)


def test_the_seed_decides_the_resamples():
    rows = table(np.arange(997) % 3 != 0)
    assert interval(rows, seed=1, n=300) == interval(rows, seed=1, n=300)
    assert interval(rows, seed=1, n=300) != interval(rows, seed=2, n=300)


@pytest.mark.parametrize("metric", list(metrics.METRICS))
def test_bootstrap_equals_a_plain_loop(metric):
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=400).astype(str)
    predicted = np.where(rng.random(400) < 0.7, labels, "0")
    low, high = clip_bootstrap(labels, predicted, metric=metric, n=2000)
    draws = []
    for _ in range(500):
        rows = rng.integers(400, size=400)
        draws.append(getattr(metrics, metric)(labels[rows], predicted[rows]))
    assert (low, high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=0.012)


@pytest.mark.parametrize("metric", list(metrics.METRICS))
@pytest.mark.parametrize("right", [True, False])
def test_all_right_or_all_wrong_is_not_certain(metric, right):
    speaker = np.repeat(np.arange(20), 5)
    for groups, n in ((None, 100), (speaker, 20)):  # the units count, not the rows
        exact = stats.binomtest(n if right else 0, n).proportion_ci(0.9, method="exact")
        rows = table(np.full(100, right))
        found = interval(rows, groups=groups, metric=metric, level=0.9)
        assert found == pytest.approx((exact.low, exact.high))


def test_runs_that_are_all_right_do_not_narrow_the_interval():
    rows = table(np.ones(30, bool))
    thrice = pd.concat([rows.assign(seed=s) for s in range(3)], ignore_index=True)
    found = interval(thrice, groups=resampling_units(thrice), runs=run_names(thrice))
    assert found == interval(rows)


def test_groups_widen_the_interval():
    speaker = np.repeat(np.arange(12), 25)
    rows = table(speaker % 3 != 0)  # a speaker is all right or all wrong
    alone, grouped = interval(rows), interval(rows, groups=speaker)
    assert grouped.high - grouped.low > 3 * (alone.high - alone.low)


def test_one_group_gives_no_interval():
    assert all(map(math.isnan, interval(table(np.ones(5, bool)), groups=["anna"] * 5)))


def test_runs_on_the_same_clips_do_not_pass_for_more_clips():
    rows = table(np.arange(100) % 3 != 0)
    thrice = pd.concat([rows.assign(seed=s) for s in range(3)], ignore_index=True)
    honest = interval(thrice, groups=resampling_units(thrice), runs=run_names(thrice))
    assert honest == pytest.approx(interval(rows), abs=0.01)
    naive = interval(thrice)
    assert naive.high - naive.low < 0.7 * (honest.high - honest.low)


def coverage(make, *, truth: float, trials: int = 300) -> float:
    hits = 0
    for trial in range(trials):
        rows, groups = make(np.random.default_rng(trial))
        low, high = interval(rows, groups=groups, n=400, seed=trial)
        hits += low <= truth <= high
    return hits / trials


def test_coverage_over_clips_is_near_nominal():
    covered = coverage(lambda rng: (table(rng.random(60) < 0.75), None), truth=0.75)
    assert 0.91 <= covered <= 0.985


@pytest.mark.parametrize("n_speakers", [3, 6, 12])
def test_coverage_over_speakers_is_near_nominal(n_speakers):
    def make(rng):
        speaker = np.repeat(np.arange(n_speakers), 20)
        skill = rng.beta(6, 3, size=n_speakers)
        return table(rng.random(len(speaker)) < skill[speaker]), speaker

    grouped = coverage(make, truth=6 / 9, trials=200)
    assert 0.9 <= grouped <= 0.99
    ungrouped = coverage(lambda rng: (make(rng)[0], None), truth=6 / 9, trials=200)
    assert ungrouped < grouped - 0.05


def test_two_speakers_who_score_the_same_are_not_certain():
    right = np.tile(np.arange(100) < 30, 2)
    right[0] = False
    low, high = interval(table(right), groups=np.repeat(["anna", "ben"], 100))
    assert low < 0.25 < 0.35 < high


def test_paired_difference_over_few_speakers_uses_student_t():
    speaker = np.repeat(np.arange(4), 50)
    second = table(np.tile(np.arange(50) < 20, 4), group=speaker)
    gains = np.array([4, 6, 5, 5])
    first = table(np.tile(np.arange(50), 4) < 20 + gains[speaker], group=speaker)
    result = paired_bootstrap(first, second)
    expected = stats.ttest_1samp(gains / 50, 0)
    assert result.difference == pytest.approx(0.1)
    assert result.p_value == pytest.approx(expected.pvalue, rel=0.2)
    low, high = expected.confidence_interval()
    assert (result.low, result.high) == pytest.approx((low, high), abs=0.002)


def test_paired_difference_and_its_p_value():
    rng = np.random.default_rng(0)
    right = rng.random(500) < 0.7
    first, second = table(right | (rng.random(500) < 0.3)), table(right)
    result = paired_bootstrap(first, second)
    expected = (first["label"] == first["predicted"]).mean() - right.mean()
    assert result.difference == pytest.approx(expected)
    assert 0 < result.low < result.difference < result.high
    assert result.p_value < 0.01
    mirrored = paired_bootstrap(second, first)
    assert mirrored.difference == -result.difference
    assert mirrored.p_value == pytest.approx(result.p_value)


def test_pairing_is_by_clip_not_by_row():
    first = table(np.arange(60) % 3 != 0)
    result = paired_bootstrap(first, first.sample(frac=1, random_state=0))
    assert result.in_no_resample
    assert result.difference == 0


def test_p_values_are_uniform_when_nothing_differs():
    rng = np.random.default_rng(0)
    p_values = []
    for trial in range(150):
        columns = rng.random((2, 120)) < 0.7
        p_values.append(paired_bootstrap(*map(table, columns), n=400, seed=trial).p_value)
    assert 0.01 <= np.mean(np.array(p_values) < 0.05) <= 0.1
    assert stats.kstest(p_values, "uniform").statistic < 0.15


def test_different_clips_cannot_be_compared():
    rows = table(np.ones(10, bool))
    with pytest.raises(ValueError, match=r"1 predictions stand in one table only, such as clip c9"):
        paired_bootstrap(rows, rows.iloc[:9])
    with pytest.raises(ValueError, match="disagree on the labels"):
        paired_bootstrap(rows, rows.assign(label="1"))


def test_resampling_units_are_groups_where_known():
    rows = table(np.ones(3, bool), group=["anna", None, ""])
    assert list(resampling_units(rows)) == ["group anna", "clip c1", "clip c2"]


def test_a_group_column_of_another_length_is_refused():
    with pytest.raises(ValueError, match="groups has 3 entries for 4 clips"):
        clip_bootstrap(list("abab"), list("abab"), list("abc"))


@pytest.mark.parametrize("wrong", [[], [3, 7]])
def test_models_that_differ_on_no_clip_are_not_certain_to_be_equal(wrong):
    clips = [f"clip{i}" for i in range(40)]
    first = pd.DataFrame({"clip_id": clips, "label": ["a", "b"] * 20, "predicted": ["a", "b"] * 20})
    first.loc[wrong, "predicted"] = "c"
    found = paired_bootstrap(first, first.copy(), n=200)
    exact = stats.binomtest(0, 40).proportion_ci(0.95, method="exact").high
    assert found.in_no_resample
    assert found == pytest.approx((0.0, -exact, exact, 1.0, True))
    second = first.copy()
    second.loc[0, "predicted"] = "c"
    assert not paired_bootstrap(first, second, n=200).in_no_resample
