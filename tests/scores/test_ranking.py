"""Multi-label metrics against scikit-learn and scipy, and their bootstrap."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

from unfused.scores.intervals import paired_bootstrap, ranking_interval
from unfused.scores.ranking import (
    average_precision,
    d_prime,
    mean_auc,
    mean_average_precision,
    roc_auc,
)
from unfused.scores.ranking_bootstrap import RankedRuns, is_ranked, ranked_runs


@pytest.fixture
def made():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 15, (200, 4)) / 7  # many ties
    return scores, rng.random((200, 4)) < 0.3, rng.integers(0, 4, (6, 200))


def test_a_case_worked_by_hand():
    scores, hits = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False])
    ones = np.ones((1, 4))
    assert average_precision(scores, hits, ones)[0] == pytest.approx((1 + 2 / 3) / 2)
    assert roc_auc(scores, hits, ones)[0] == pytest.approx(3 / 4)


def test_weighted_metrics_equal_scikit_learns(made):
    scores, hits, weights = made
    for c in range(4):
        ap, auc = (f(scores[:, c], hits[:, c], weights) for f in (average_precision, roc_auc))
        for w, row in enumerate(weights):
            given = hits[:, c], scores[:, c]
            assert ap[w] == pytest.approx(average_precision_score(*given, sample_weight=row))
            assert auc[w] == pytest.approx(roc_auc_score(*given, sample_weight=row))


def test_means_and_d_prime_equal_their_formulas(made):
    scores, hits, _ = made
    ones = np.ones((1, 200))
    auc = roc_auc_score(hits, scores, average="macro")
    assert mean_auc(scores, hits, ones)[0] == pytest.approx(auc)
    assert d_prime(scores, hits, ones)[0] == pytest.approx(2**0.5 * norm.ppf(auc))
    assert mean_average_precision(scores, hits, ones)[0] == pytest.approx(
        average_precision_score(hits, scores, average="macro")
    )


def test_a_class_that_no_clip_has_is_left_out_of_the_mean(made):
    scores, hits, _ = made
    hits = hits.copy()
    hits[:, 2] = False
    known = [0, 1, 3]
    found = mean_average_precision(scores, hits, np.ones((1, 200)))[0]
    assert found == pytest.approx(average_precision_score(hits[:, known], scores[:, known]))


def test_ranks_alone_count(made):
    scores, hits, weights = made
    for metric in (mean_average_precision, mean_auc):
        np.testing.assert_allclose(
            metric(scores, hits, weights), metric(np.exp(3 * scores) - 5, hits, weights)
        )


def predictions(scores, hits, names="abcd", seed=0, fold=0):
    return pd.DataFrame({
        "clip_id": [f"{fold}-{i}" for i in range(len(hits))],
        "label": ["|".join(n for n, hit in zip(names, row, strict=True) if hit) for row in hits],
        "predicted": "", "classes": "|".join(names), "scores": list(scores.astype(np.float32)),
        "seed": seed, "fold": fold,
    })  # fmt: skip


def test_resamples_are_those_of_repeated_rows(made):
    scores, hits, _ = made
    names = [f"clip {i:03d}" for i in range(200)]  # units are numbered in the order of their names
    runs = RankedRuns.of([scores], hits, names, ["one"] * 200)
    drawn = np.random.default_rng(1).integers(200, size=200)
    weights = np.bincount(drawn, minlength=200)[None]
    expected = mean_average_precision(scores[drawn], hits[drawn], np.ones((1, 200)))[0]
    assert runs._evaluate(weights, mean_average_precision)[0, 0, 0] == pytest.approx(expected)


def test_folds_are_averaged_and_their_classes_aligned(made):
    scores, hits, _ = made
    first = predictions(scores[:100], hits[:100])
    second = predictions(scores[100:, :3], hits[100:, :3], names="abc", fold=1)
    table = pd.concat([first, second])
    assert is_ranked(table)
    observed = ranked_runs(table["clip_id"], table).observed(mean_average_precision)[0]
    by_hand = [
        mean_average_precision(scores[:100], hits[:100], np.ones((1, 100)))[0],
        mean_average_precision(scores[100:, :3], hits[100:, :3], np.ones((1, 100)))[0],
    ]
    assert observed == pytest.approx(np.mean(by_hand))


@pytest.mark.parametrize(("metric", "n"), [("mAP", 120), ("auc", 120), ("mAP", 40)])
def test_intervals_cover_the_truth_at_their_rate(metric, n):
    rng = np.random.default_rng(0)

    def draw(n):
        hits = rng.random((n, 2)) < 0.3
        return rng.normal(size=(n, 2)) + 1.2 * hits, hits

    function = {"mAP": mean_average_precision, "auc": mean_auc}[metric]
    truth = function(*draw(400_000), np.ones((1, 400_000)))[0]
    covered, above = [], []
    for trial in range(150):
        scores, hits = draw(n)
        runs = RankedRuns.of([scores], hits, np.arange(n), ["one"] * n)
        low, high = ranking_interval(runs, metric, n=200, seed=trial)
        covered.append(low <= truth <= high)
        above.append(high < truth)
    assert 0.88 <= np.mean(covered) <= 0.99
    assert np.mean(above) < 0.1  # neither side misses much more than its share


def test_the_same_scores_do_not_differ_and_better_ones_do(made):
    scores, hits, _ = made
    plain = predictions(scores, hits)
    better = predictions(scores + 2 * hits, hits)
    same = paired_bootstrap(plain, plain, metric="mAP", n=200)
    assert same.in_no_resample
    assert same.low == -same.high < same.difference == 0
    gain = paired_bootstrap(better, plain, metric="mAP", n=200)
    assert 0 < gain.low < gain.difference < gain.high
    assert gain.p_value < 0.02


def test_scores_that_are_not_finite_are_refused(made):
    scores, hits, _ = made
    with pytest.raises(ValueError, match="not finite"):
        RankedRuns.of([scores * np.nan], hits, np.arange(200), ["one"] * 200)
    with pytest.raises(ValueError, match="one score per clip and class"):
        RankedRuns.of([scores[:, :3]], hits, np.arange(200), ["one"] * 200)
