"""Intervals that cover the truth at their rate, and p-values that say what they should."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from unfused.scores.intervals import difference, holm, interval, mean_over_tasks


def table(right: np.ndarray, **columns: object) -> pd.DataFrame:
    n = len(right)
    labels = np.arange(n) % 2
    predicted = np.where(right, labels, 1 - labels).astype(str)
    ids = [f"c{i}" for i in range(n)]
    return pd.DataFrame(
        {"clip_id": ids, "label": labels.astype(str), "predicted": predicted, **columns}
    )


def seeds(tables) -> pd.DataFrame:
    numbered = [rows.assign(seed=seed) for seed, rows in enumerate(tables)]
    return pd.concat(numbered, ignore_index=True)


def coverage(make, truth: float, trials: int = 120) -> float:
    found = [interval(make(np.random.default_rng(i)), n=150) for i in range(trials)]
    return float(np.mean([one.low <= truth <= one.high for one in found]))


def test_many_clips_approach_the_normal_interval():
    found = interval(table(np.arange(2000) % 5 != 0))
    half = 1.96 * (0.8 * 0.2 / 2000) ** 0.5
    assert (found.value, found.kind, found.unit, found.n_units) == (0.8, "t", "clips", 2000)
    assert found.low == pytest.approx(0.8 - half, abs=0.003)
    assert found.high == pytest.approx(0.8 + half, abs=0.003)


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1"])
def test_the_standard_error_is_that_of_a_plain_bootstrap_loop(metric):
    from unfused.scores.metrics import score

    rng = np.random.default_rng(0)
    rows = table(rng.random(300) < 0.7)
    draws = [score(rows.iloc[rng.integers(300, size=300)], metric) for _ in range(300)]
    assert interval(rows, metric).standard_error == pytest.approx(np.std(draws), rel=0.15)


@pytest.mark.parametrize(("n", "p"), [(60, 0.75), (100, 0.97)])
def test_coverage_over_clips(n, p):
    assert 0.9 <= coverage(lambda rng: table(rng.random(n) < p), p) <= 0.995


@pytest.mark.parametrize(("n_speakers", "shape"), [(3, (6, 3)), (12, (6, 3)), (12, (16, 1))])
def test_coverage_over_speakers(n_speakers, shape):
    def make(rng, grouped=True):
        speaker = np.repeat(np.arange(n_speakers), 20)
        right = rng.random(len(speaker)) < rng.beta(*shape, size=n_speakers)[speaker]
        return table(right, **({"group": speaker} if grouped else {}))

    truth = shape[0] / sum(shape)
    grouped = coverage(make, truth)
    assert 0.9 <= grouped <= 0.995
    assert coverage(lambda rng: make(rng, grouped=False), truth) < grouped - 0.05


@pytest.mark.parametrize(("n_seeds", "spread"), [(3, 0.3), (10, 0.3)])
def test_coverage_over_seeds_that_share_their_clips(n_seeds, spread):
    """A t interval over seeds alone covers .91 with 3 and .74 with 10 of them here."""

    def make(rng, n=129):
        easy = rng.normal(0.8, 1.2, n)
        chance = [1 / (1 + np.exp(-2 * (easy + rng.normal(0, spread)))) for _ in range(n_seeds)]
        return seeds(table(rng.random(n) < one) for one in chance)

    wide = np.random.default_rng(8).normal(0.8, (1.2**2 + spread**2) ** 0.5, 10**6)
    truth = float((1 / (1 + np.exp(-2 * wide))).mean())
    assert 0.9 <= coverage(make, truth) <= 0.995


def test_seeds_widen_the_interval_only_if_they_differ():
    rows = table(np.arange(100) % 3 != 0)
    one, same = interval(rows), interval(seeds([rows] * 3))
    assert (one.n_seeds, same.n_seeds) == (1, 3)
    assert (same.low, same.high) == pytest.approx((one.low, one.high), abs=1e-9)
    different = seeds([table(np.arange(100) % 10 < k) for k in (5, 7, 8)])
    assert interval(different).standard_error > 1.3 * one.standard_error
    assert "3 seeds" in interval(different).text


def test_the_same_table_has_the_same_interval():
    rows = table(np.arange(997) % 3 != 0)
    assert interval(rows, n=300) == interval(rows, n=300)


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1"])
@pytest.mark.parametrize("right", [True, False])
def test_all_right_or_all_wrong_is_not_certain(metric, right):
    rows = table(np.full(100, right))
    for groups, n in ((None, 100), (np.repeat(np.arange(20), 5), 20)):  # the units count
        exact = stats.binomtest(n if right else 0, n).proportion_ci(0.95, method="exact")
        found = interval(rows.assign(group=groups), metric)
        assert found.kind == "exact"
        assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_two_speakers_who_score_the_same_are_not_certain():
    right = np.tile(np.arange(100) < 30, 2)
    found = interval(table(right, group=np.repeat(["anna", "ben"], 100)))
    assert found.low < 0.25 < 0.35 < found.high


def test_one_group_gives_no_interval():
    for right in (np.ones(5, bool), np.arange(5) < 3):
        found = interval(table(right, group="anna"))
        assert np.isnan([found.low, found.high]).all()
        assert found.kind == "none"


def test_groups_are_what_varies_where_they_are_known():
    rows = table(np.arange(30) % 3 != 0, group=["anna"] * 10 + [None] * 10 + [""] * 10)
    assert interval(rows).n_units == 21


@pytest.mark.parametrize("metric", ["mAP", "auc", "d_prime"])
def test_ranking_metrics_have_intervals_too(metric):
    rng, truth = np.random.default_rng(0), {"auc": 0.8023, "d_prime": 1.2}  # normals 1.2 apart

    def make(n):
        hits = rng.random((n, 2)) < 0.3
        scores = rng.normal(size=(n, 2)) + 1.2 * hits
        labels = ["|".join(np.array(["a", "b"])[row]) for row in hits]
        return pd.DataFrame({"clip_id": range(n), "label": labels, "predicted": "",
                             "classes": "a|b", "scores": list(scores)})  # fmt: skip

    expected = truth.get(metric) or interval(make(40_000), "mAP", n=2).value
    found = [interval(make(120), metric, n=200) for _ in range(100)]
    covered = np.mean([one.low <= expected <= one.high for one in found])
    assert 0.88 <= covered <= 1.0


@pytest.mark.filterwarnings("error")
def test_an_infinite_d_prime_has_no_interval():
    rng, hits = np.random.default_rng(0), np.eye(3, dtype=bool)[np.arange(30) % 3]
    known = {
        "clip_id": np.arange(30),
        "label": list("abc" * 10),
        "predicted": "",
        "classes": "a|b|c",
    }
    perfect, poor = (
        pd.DataFrame({**known, "scores": list(hits + noise * rng.normal(size=hits.shape))})
        for noise in (0, 0.8)
    )
    found = interval(perfect, "d_prime", n=100)
    assert (found.value, found.kind) == (np.inf, "none")
    assert difference(perfect, poor, "d_prime", n=100).kind == "none"
    assert interval(poor, "d_prime", n=100).kind == "t"


def test_a_difference_over_few_speakers_is_a_paired_t_test():
    speaker = np.repeat(np.arange(4), 50)
    second = table(np.tile(np.arange(50) < 20, 4), group=speaker)
    gains = np.array([4, 6, 5, 5])
    first = table(np.tile(np.arange(50), 4) < 20 + gains[speaker], group=speaker)
    found, expected = difference(first, second), stats.ttest_1samp(gains / 50, 0)
    assert found.value == pytest.approx(0.1)
    assert found.p_value == pytest.approx(expected.pvalue, rel=0.3)
    low, high = expected.confidence_interval()
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.004)


def test_p_values_are_uniform_when_nothing_differs():
    def p_value(rng, n_groups):
        if n_groups is None:
            return difference(*(table(rng.random(120) < 0.7) for _ in range(2)), n=100).p_value
        speaker = np.repeat(np.arange(n_groups), 20)
        skill = rng.beta(6, 3, size=n_groups)
        pair = [np.clip(skill + rng.normal(0, 0.1, n_groups), 0, 1)[speaker] for _ in range(2)]
        tables = [table(rng.random(len(speaker)) < one, group=speaker) for one in pair]
        return difference(*tables, n=100).p_value

    for n_groups in (None, 6, 15):
        found = np.array([p_value(np.random.default_rng(i), n_groups) for i in range(100)])
        assert (found < 0.05).mean() <= 0.11
        assert 0.28 <= (found < 0.5).mean() <= 0.65


def test_what_is_obvious_is_significant_however_many_comparisons_there_are():
    """92 % against 10 % on 164 clips: the bootstrap's own p-value, times 147, was .186."""
    good, bad = table(np.arange(164) < 151), table(np.arange(164) % 10 == 0)
    speakers = {"group": np.arange(164) // 8}
    for first, second in (
        (good, bad),
        (good.assign(**speakers), bad.assign(**speakers)),
        (seeds([good] * 3), seeds([bad] * 3)),
    ):
        found = difference(first, second)
        assert found.p_value < 1e-6
        assert holm([found.p_value, *np.linspace(0.1, 1, 146)])[0] < 1e-6
        mirrored = difference(second, first)
        assert mirrored.value == pytest.approx(-found.value)
        assert mirrored.p_value == pytest.approx(found.p_value)


def test_single_clips_are_counted_exactly():
    first, second = table(np.arange(50) < 30), table((np.arange(50) >= 8) & (np.arange(50) < 31))
    expected = stats.binomtest(8, 9).pvalue  # 8 clips only the first has right, 1 the second
    assert difference(first, second).p_value == pytest.approx(expected)


@pytest.mark.parametrize("wrong", [[], [3, 7]])
def test_models_that_differ_on_no_clip_are_not_certain_to_be_equal(wrong):
    right = ~np.isin(np.arange(40), wrong)
    found = difference(table(right), table(right).sample(frac=1, random_state=0))
    exact = stats.binomtest(0, 40).proportion_ci(0.95, method="exact").high
    assert (found.value, found.p_value, found.kind) == (0.0, 1.0, "exact")
    assert (found.low, found.high) == pytest.approx((-exact, exact))


def test_a_model_of_one_seed_is_compared_with_every_seed_of_another():
    plain = table(np.arange(60) % 2 == 0).assign(seed=0)
    trained = seeds([table(np.arange(60) % k != 0) for k in (3, 4, 5)])
    found = difference(trained, plain)
    assert found.value == pytest.approx(interval(trained).value - interval(plain).value)
    assert found.n_seeds == 3
    other = seeds([table(np.arange(60) % 7 != 0)] * 2).assign(seed=lambda rows: rows["seed"] + 2)
    shared = difference(trained, other)  # seed 2 alone is in both
    assert shared.value == pytest.approx(48 / 60 - 51 / 60)


def test_different_clips_cannot_be_compared():
    rows = table(np.ones(10, bool))
    with pytest.raises(ValueError, match="such as c9"):
        difference(rows, rows.iloc[:9])
    with pytest.raises(ValueError, match="disagree on the labels"):
        difference(rows, rows.assign(label="1"))
    with pytest.raises(ValueError, match="share no seed"):
        difference(seeds([rows] * 2), seeds([rows] * 2).assign(seed=[7] * 10 + [8] * 10))


def test_a_mean_over_tasks_has_the_error_of_its_parts():
    rng = np.random.default_rng(0)
    tasks = {name: table(rng.random(n) < 0.7) for name, n in (("a", 100), ("b", 400))}
    found, parts = mean_over_tasks(tasks), [interval(rows) for rows in tasks.values()]
    assert found.value == pytest.approx(np.mean([one.value for one in parts]))
    error = sum(one.standard_error**2 for one in parts) ** 0.5 / 2
    assert found.standard_error == pytest.approx(error)
    assert found.low < found.value < found.high


def test_the_luck_of_a_seed_is_shared_by_all_tasks():
    lucky = {task: seeds([table(np.arange(100) % 10 < k) for k in (5, 7, 9)]) for task in "abcd"}
    mixed = {
        task: seeds([table(np.arange(100) % 10 < 5 + 2 * ((seed + i) % 3)) for seed in range(3)])
        for i, task in enumerate("abc")
    }
    assert mean_over_tasks(lucky).standard_error > 0.1
    assert mean_over_tasks(mixed).standard_error < 0.04


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, np.nan, 0.04, 0.03]), [0.03, np.nan, 0.06, 0.06])
    assert holm([]).shape == (0,)
