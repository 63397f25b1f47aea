"""Linear classifiers are scikit-learn's, however few clips there are."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from unfused.probes.linear_models import Standardised, logistic_path, shrinkage_lda


def made(n: int, dimension: int, n_classes: int = 4, seed: int = 0):
    """Correlated features on very different scales, and class numbers."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    hidden = rng.normal(size=(n_classes, 8))[y] + rng.normal(size=(n, 8))
    x = hidden @ rng.normal(size=(8, dimension)) + 0.3 * rng.normal(size=(n, dimension))
    return (x * 10 ** rng.uniform(-2, 2, dimension) + 5).astype(np.float32), y


def reference(x, y, strength, **options):
    scaler = StandardScaler().fit(x.astype(float))
    model = LogisticRegression(C=1 / (len(x) * strength), tol=1e-8, max_iter=20000, **options)
    return scaler, model.fit(scaler.transform(x.astype(float)), y)


def centred(logits):
    return logits - logits.mean(axis=1, keepdims=True)  # a softmax leaves their level open


@pytest.mark.parametrize(("tolerance", "share"), [(1e-3, 1e-3), (0.3, 0.01), (1.0, 0.03)])
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("dimension", [20, 90, 300])
def test_logistic_regression_with_many_clips_and_with_few(dimension, n_classes, tolerance, share):
    x, y = made(180, dimension, n_classes)
    x, y, held_out = x[:120], y[:120], x[120:]
    data, strengths = Standardised(x, y, n_classes), (1e-1, 1e-2)
    for strength, found in zip(
        strengths, logistic_path(data, strengths, tolerance=tolerance), strict=True
    ):
        if n_classes == 2:  # one weight vector of twice the length has half the penalty
            scaler, model = reference(x, y, strength / 2)
            half = model.decision_function(scaler.transform(held_out.astype(float)))[:, None] / 2
            expected = np.concatenate([-half, half], axis=1)
        else:
            scaler, model = reference(x, y, strength)
            expected = model.decision_function(scaler.transform(held_out.astype(float)))
        logits = found.logits(held_out)
        atol = share * expected.std()
        np.testing.assert_allclose(centred(logits), centred(expected), atol=atol, rtol=share)
        np.testing.assert_allclose(found.bias.mean(), 0, atol=1e-5)


@pytest.mark.parametrize("dimension", [12, 300])
def test_several_labels_are_one_regression_each(dimension):
    x, y = made(120, dimension)
    hits = (np.eye(4)[y] + np.eye(4)[(y + 1) % 4]).astype(np.float32)
    hits[:, 3] = 1.0  # every clip has it
    hits = np.column_stack([hits, np.zeros(120, np.float32)])  # no clip has it
    (found,) = logistic_path(Standardised(x, hits, 5), [1e-2], tolerance=1e-3)
    logits = found.logits(x)
    for c in range(3):
        scaler, model = reference(x, hits[:, c], 1e-2)
        expected = model.decision_function(scaler.transform(x.astype(float)))
        np.testing.assert_allclose(logits[:, c], expected, atol=1e-3 * expected.std(), rtol=1e-3)
    assert (logits[:, 3] > 20).all()
    assert (logits[:, 4] < -20).all()


@pytest.mark.parametrize("several", [True, False])
def test_where_nothing_can_be_learnt_each_clip_is_what_all_are(several):
    x, _ = made(30, 8)
    targets = np.tile(np.float32([0, 1, 0]), (30, 1)) if several else np.ones(30, np.int64)
    (found,) = logistic_path(Standardised(x, targets, 3), [1e-2])
    assert (found.logits(x) > 20).tolist() == [[False, True, False]] * 30
    assert (found.logits(x)[:, [0, 2]] < -20).all()


def test_a_large_constant_feature_does_not_count():
    x, y = made(90, 12)
    with_it = np.column_stack([x, np.full(90, 1e28, np.float32)])
    with_it[::2, -1] *= np.float32(1 + 1e-7)  # rounding
    (found,), (expected,) = (
        logistic_path(Standardised(items, y, 4), [1e-2], tolerance=1e-3) for items in (with_it, x)
    )
    np.testing.assert_allclose(found.weight[:, :-1], expected.weight, atol=5e-3)
    assert (found.weight[:, -1] == 0).all()


def test_a_path_ends_where_a_cold_start_ends():
    data = Standardised(*made(150, 250), 4)
    *_, warm = logistic_path(data, (1.0, 1e-1, 1e-2), tolerance=1e-3)
    (cold,) = logistic_path(data, (1e-2,), tolerance=1e-3)
    np.testing.assert_allclose(warm.weight, cold.weight, atol=2e-3)


@pytest.mark.parametrize(("n", "dimension"), [(400, 60), (60, 400)])
def test_lda_is_scikit_learns(n, dimension):
    x, y = made(n, dimension)
    x[:, 3] = 7.0  # constant
    ours = shrinkage_lda(Standardised(x, y, 4)).logits(x)
    scaled = StandardScaler().fit_transform(x.astype(float))
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(scaled, y)
    theirs = model.decision_function(scaled)
    np.testing.assert_allclose(centred(ours), centred(theirs), atol=1e-3 * theirs.std(), rtol=1e-3)


@pytest.mark.parametrize("dimension", [10, 100])
def test_a_class_without_training_clips_is_never_likely(dimension):
    x, y = made(60, dimension, n_classes=2)
    for found in (
        shrinkage_lda(Standardised(x, 2 * y, 4)),
        next(logistic_path(Standardised(x, 2 * y, 4), [1e-2])),
    ):
        logits = found.logits(x)
        assert (logits[:, [1, 3]].max(1) < logits[:, [0, 2]].max(1)).all()
        assert (logits.argmax(1) == 2 * y).mean() > 0.9


def test_the_scaler_is_that_of_all_rows_and_logits_come_in_blocks():
    x, y = made(9001, 12)
    x[:, 0] += 1000
    x[:, 1] = 7.3
    data = Standardised(x, y, 4)
    found = next(logistic_path(data, [1e-2]))
    scale = x.astype(float).std(0)
    scale[1] = 1.0
    np.testing.assert_allclose(found.mean, x.astype(float).mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.scale, scale, rtol=1e-4)
    expected = ((x - found.mean) / found.scale) @ found.weight.T + found.bias
    np.testing.assert_allclose(found.logits(x), expected, atol=1e-4)
    assert np.abs(found.weight[:, 1]).max() < 1e-3
