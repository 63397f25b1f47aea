"""Metrics against scikit-learn and scipy, with weights and without."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn import metrics as reference

from unfused.scores import metrics
from unfused.scores.metrics import calibration_error, score, scorer


def columns(n: int = 300, n_classes: int = 7) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    labels = rng.integers(n_classes, size=n) ** 2
    predicted = np.where(rng.random(n) < 0.6, labels, rng.integers(n_classes, size=n))
    return pd.DataFrame({"label": labels.astype(str), "predicted": predicted.astype(str)})


def table(labels, predicted) -> pd.DataFrame:
    return pd.DataFrame({"label": list(labels), "predicted": list(predicted)})


def ranked(scores, hits, names="abcd", **more) -> pd.DataFrame:
    labels = ["|".join(n for n, hit in zip(names, row, strict=True) if hit) for row in hits]
    return pd.DataFrame({"label": labels, "predicted": "", "classes": "|".join(names),
                         "scores": list(np.asarray(scores, np.float32)), **more})  # fmt: skip


@pytest.fixture
def made():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 15, (200, 4)) / 8  # many ties
    return scores, rng.random((200, 4)) < 0.3, rng.integers(0, 4, (6, 200))


def sklearns(rows, metric, weights=None):
    labels, predicted = rows["label"], rows["predicted"]
    if metric == "accuracy":
        return reference.accuracy_score(labels, predicted, sample_weight=weights)
    if metric == "macro_f1":
        return reference.f1_score(
            labels, predicted, average="macro", zero_division=0, sample_weight=weights
        )
    return reference.recall_score(
        labels, predicted, labels=np.unique(labels), average="macro", sample_weight=weights
    )


@pytest.mark.parametrize("metric", metrics.SINGLE_LABEL_METRICS)
def test_single_label_metrics_equal_sklearns(metric):
    rows = columns()
    assert score(rows, metric) == pytest.approx(sklearns(rows, metric))
    weights = np.random.default_rng(1).integers(1, 4, (3, len(rows)))
    found = scorer(rows, metric)(weights)
    assert found == pytest.approx([sklearns(rows, metric, row) for row in weights])


@pytest.mark.parametrize(
    ("metric", "function"),
    [("mAP", reference.average_precision_score), ("auc", reference.roc_auc_score)],
)
def test_multi_label_metrics_equal_sklearns(made, metric, function):
    scores, hits, weights = made
    found = scorer(ranked(scores, hits), metric)(weights)
    for value, row in zip(found, weights, strict=True):
        expected = [function(hits[:, c], scores[:, c], sample_weight=row) for c in range(4)]
        assert value == pytest.approx(np.mean(expected))
    again = score(ranked(np.exp(3 * scores) - 5, hits), metric)  # ranks alone count
    assert again == pytest.approx(score(ranked(scores, hits), metric))


def test_d_prime_is_its_formula(made):
    scores, hits, _ = made
    auc = reference.roc_auc_score(hits, scores, average="macro")
    assert score(ranked(scores, hits), "d_prime") == pytest.approx(2**0.5 * norm.ppf(auc))


def test_a_case_worked_by_hand():
    rows = ranked([[0.9], [0.8], [0.7], [0.6]], [[True], [False], [True], [False]], names="a")
    assert score(rows, "mAP") == pytest.approx((1 + 2 / 3) / 2)
    assert score(rows, "auc") == pytest.approx(3 / 4)
    # class a: 3 of 4 right, class b: 0 of 1 right; class c is only ever predicted
    assert score(table("aaaab", "aaaca"), "balanced_accuracy") == pytest.approx(0.375)


def test_folds_are_averaged_and_unknown_classes_score_lowest(made):
    scores, hits, _ = made
    first = ranked(scores[:100], hits[:100], fold=0)
    second = ranked(scores[100:, :3], hits[100:, :3], names="abc", fold=1)
    found = score(pd.concat([first, second]), "mAP")
    assert found == pytest.approx(np.mean([score(first, "mAP"), score(second, "mAP")]))
    rows = ranked(scores[:, :3], hits[:, :3], names="abc")
    known, unlabelled = score(rows, "mAP"), rows["label"] == ""
    rows.loc[unlabelled, "label"] = "d"
    assert score(rows, "mAP") == pytest.approx((3 * known + unlabelled.mean()) / 4)


def test_a_class_that_no_clip_has_is_left_out_of_the_mean(made):
    scores, hits, _ = made
    hits = hits & np.array([True, True, False, True])
    known = [0, 1, 3]
    expected = reference.average_precision_score(hits[:, known], scores[:, known])
    assert score(ranked(scores, hits), "mAP") == pytest.approx(expected)


def test_calibration_error_is_the_distance_between_sureness_and_success():
    right = np.arange(100) % 10 < 7
    assert calibration_error(np.full(100, 0.7), right) == pytest.approx(0, abs=0.01)
    assert calibration_error(np.full(100, 1.0), right) == pytest.approx(0.3)
    sure = np.r_[np.full(50, 0.9), np.full(50, 0.5)]
    right = np.r_[np.ones(50, bool), np.zeros(50, bool)]
    assert calibration_error(sure, right) == pytest.approx((0.1 + 0.5) / 2)


def test_numeric_looking_labels_stay_apart():
    assert score(table(["01", "1"], ["1", "1"]), "accuracy") == 0.5


def test_bad_rows_and_metrics_are_refused():
    with pytest.raises(ValueError, match="missing"):
        score(table(["a", None], ["a", "a"]), "accuracy")
    with pytest.raises(ValueError, match="one labelled clip"):
        score(table([], []), "accuracy")
    with pytest.raises(ValueError, match="macro_f1"):
        score(table("a", "a"), "f2")
    with pytest.raises(ValueError, match="several labels"):
        score(table("a", "a"), "auc")
    with pytest.raises(ValueError, match="not finite"):
        score(ranked([[np.nan]], [[True]], names="a"), "mAP")
