import numpy as np
import pytest
from sklearn import metrics as reference

from unfused.scores import metrics


def random_columns(n: int = 300, n_classes: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(n_classes, size=n) ** 2
    predicted = np.where(rng.random(n) < 0.6, labels, rng.integers(n_classes, size=n))
    return labels.astype(str), predicted.astype(str)


def test_metrics_equal_sklearn():
    labels, predicted = random_columns()
    assert metrics.accuracy(labels, predicted) == pytest.approx(
        reference.accuracy_score(labels, predicted)
    )
    assert metrics.balanced_accuracy(labels, labels) == 1.0
    assert metrics.macro_f1(labels, predicted) == pytest.approx(
        reference.f1_score(labels, predicted, average="macro", zero_division=0)
    )
    known = np.unique(labels)
    recalls = reference.recall_score(labels, predicted, labels=known, average="macro")
    assert metrics.balanced_accuracy(labels, predicted) == pytest.approx(recalls)


def test_confusion_equals_sklearn_and_names_its_axes():
    labels, predicted = random_columns()
    table = metrics.confusion(labels, predicted)
    np.testing.assert_array_equal(table, reference.confusion_matrix(labels, predicted))
    assert table.index.name == "label"
    assert list(table.columns) == sorted(set(labels) | set(predicted))


def test_balanced_accuracy_by_hand():
    # class a: 3 of 4 right, class b: 0 of 1 right; class c is only ever predicted
    assert metrics.balanced_accuracy(list("aaaab"), list("aaaca")) == pytest.approx(0.375)


def test_numeric_looking_labels_stay_apart():
    assert metrics.accuracy(["01", "1"], ["1", "1"]) == 0.5


@pytest.mark.parametrize(
    ("labels", "predicted", "words"),
    [
        ([], [], "at least one"),
        (["a"], ["a", "b"], "lengths"),
        (["a", None], ["a", "a"], "missing"),
    ],
)
def test_bad_columns_are_refused(labels, predicted, words):
    with pytest.raises(ValueError, match=words):
        metrics.accuracy(labels, predicted)


def test_unknown_metric_names_the_choices():
    with pytest.raises(ValueError, match=r"'auc'.*macro_f1"):
        metrics.metric_named("auc")
