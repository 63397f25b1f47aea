import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from unfused.probes.inner_folds import inner_folds
from unfused.probes.linear_probe import PATIENCE, STRENGTHS, LinearProbe
from unfused.probes.logistic_path import Classifier, Standardised
from unfused.scores.metrics import balanced_accuracy


def make_features(n: int, *, seed: int = 0, n_classes: int = 6, dimension: int = 96):
    """Rectified features of overlapping classes on very different scales, as encoders make them."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(n_classes, 12)) * 0.7
    mixing = rng.normal(size=(12, dimension))
    scale = 10 ** rng.uniform(-2, 2, size=dimension)
    rng = np.random.default_rng(seed + 1)
    y = rng.integers(n_classes, size=n)
    x = (centres[y] + rng.normal(size=(n, 12))) @ mixing + rng.normal(size=(n, dimension))
    return (np.maximum(x, 0) * scale).astype(np.float32), np.array([f"k{i}" for i in y])


@pytest.mark.parametrize("strength", STRENGTHS[1:-1])
def test_agrees_with_sklearn_at_the_same_penalty(strength):
    x, y = make_features(600)
    x_test, y_test = make_features(2000, seed=1)
    probe = LinearProbe(strengths=[strength]).fit(x, y, x[:50], y[:50])
    scaler = StandardScaler().fit(x)
    reference = LogisticRegression(C=1 / (len(x) * strength), tol=1e-6, max_iter=5000)
    reference.fit(scaler.transform(x).astype(np.float64), y)
    expected = reference.predict(scaler.transform(x_test))
    predicted = probe.predict(x_test)
    assert abs((predicted == y_test).mean() - (expected == y_test).mean()) <= 0.005
    assert (predicted == expected).mean() > 0.98


def test_the_scaler_and_logits_are_those_of_all_rows_at_once():
    x, y = make_features(9001)  # more than two blocks of rows
    x[:, 0] += 1000
    data = Standardised.of(x, np.unique(y, return_inverse=True)[1])
    np.testing.assert_allclose(data.mean, x.mean(0, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(data.scale, x.std(0, dtype=np.float64), rtol=1e-5)
    np.testing.assert_allclose(data.x, StandardScaler().fit_transform(x), atol=2e-4)
    weight = np.eye(3, x.shape[1], dtype=np.float32)
    logits = Classifier(1.0, weight, np.ones(3, np.float32), data.mean, data.scale).logits(x)
    np.testing.assert_allclose(logits, data.x[:, :3] + 1, atol=1e-5)


def test_gradient_vanishes_at_the_optimum():
    x, y = make_features(300)
    probe = LinearProbe(strengths=[1e-2]).fit(x, y, x, y)
    fitted = probe.classifier_
    weight, bias = (torch.from_numpy(a).double().requires_grad_() for a in fitted[1:3])
    scaled = torch.from_numpy((x - fitted.mean) / fitted.scale).double()
    codes = torch.from_numpy(np.unique(y, return_inverse=True)[1])
    loss = torch.nn.functional.cross_entropy(scaled @ weight.T + bias, codes)
    (loss + 1e-2 / 2 * weight.square().sum()).backward()
    assert max(weight.grad.abs().max(), bias.grad.abs().max()) < 5e-5


def test_strength_is_the_best_on_validation():
    x, y = make_features(200)
    x_valid, y_valid = make_features(500, seed=1)
    probe = LinearProbe().fit(x, y, x_valid, y_valid)
    followed = list(probe.scores_)
    assert followed == list(STRENGTHS)[: len(followed)]
    worse = [score < max(probe.scores_.values()) for score in probe.scores_.values()]
    assert len(followed) == len(STRENGTHS) or all(worse[-PATIENCE:])
    assert probe.scores_[probe.strength_] == max(probe.scores_.values())
    solved = balanced_accuracy(y_valid, probe.predict(x_valid))
    assert probe.score(x_valid, y_valid) == solved
    assert abs(solved - probe.scores_[probe.strength_]) < 0.01  # chosen to a rougher tolerance


def test_ties_go_to_the_stronger_penalty():
    x = np.array([[0.0], [0.1], [5.0], [5.1]])
    y = ["a", "a", "b", "b"]
    probe = LinearProbe(strengths=[1e-3, 1e-1, 1e-2]).fit(x, y, x, y)
    assert probe.scores_ == {1e-1: 1.0, 1e-2: 1.0, 1e-3: 1.0}
    assert probe.strength_ == 1e-1


def test_same_data_same_probe():
    x, y = make_features(100)
    first, second = (LinearProbe().fit(x, y) for _ in range(2))
    np.testing.assert_array_equal(first.classifier_.weight, second.classifier_.weight)
    assert first.scores_ == second.scores_


def test_constant_features_do_no_harm():
    x, y = make_features(200)
    plain = LinearProbe(strengths=[1e-2]).fit(x, y, x, y)
    constant = np.column_stack([x, np.full(len(x), 7.3), np.zeros(len(x))])
    padded = LinearProbe(strengths=[1e-2]).fit(constant, y, constant, y)
    assert np.abs(padded.classifier_.weight[:, -2:]).max() < 1e-3
    assert (plain.predict(x) == padded.predict(constant)).mean() > 0.99


def test_head_is_the_same_classifier_on_unscaled_features():
    x, y = make_features(300)
    probe = LinearProbe().fit(x, y, x, y)
    weight, bias = probe.head()
    logits = torch.from_numpy(x) @ weight.T + bias
    np.testing.assert_allclose(logits.numpy(), probe.decision_function(x), atol=1e-3, rtol=1e-3)


def test_without_validation_inner_folds_choose():
    x, y = make_features(120)
    probe = LinearProbe().fit(x, y, np.empty((0, x.shape[1])), [])
    assert set(probe.scores_) == set(STRENGTHS)
    assert probe.scores_[probe.strength_] == max(probe.scores_.values())
    assert max(probe.scores_.values()) < 1.0  # held-out folds, not the training clips


def test_grouped_inner_folds_see_through_speaker_features():
    """Features that only name the speaker look perfect unless speakers are held out."""
    rng = np.random.default_rng(0)
    speaker = np.repeat(np.arange(12), 10)
    y = np.where(speaker % 2 == 0, "a", "b")
    x = np.eye(12)[speaker] + rng.normal(size=(120, 12)) * 0.01
    alone = LinearProbe().fit(x, y)
    grouped = LinearProbe().fit(x, y, groups=speaker)
    assert max(alone.scores_.values()) == 1.0
    assert max(grouped.scores_.values()) < 0.8


def test_one_clip_of_each_class_falls_back_to_a_fixed_penalty():
    x, y = make_features(200)
    first = [np.flatnonzero(y == name)[0] for name in np.unique(y)]
    probe = LinearProbe().fit(x[first], y[first])
    assert probe.strength_ == 1e-2
    assert probe.scores_ == {}
    assert (probe.predict(x[first]) == y[first]).all()


def test_one_class_is_refused():
    with pytest.raises(ValueError, match=r"all of class \['a'\].*at least 2 classes"):
        LinearProbe().fit(np.eye(3), ["a", "a", "a"])


def test_bad_features_are_refused_and_named():
    x, y = make_features(20)
    broken = x.copy()
    broken[7, 3] = np.nan
    with pytest.raises(ValueError, match=r"1 of 20 training feature rows .* row 7"):
        LinearProbe().fit(broken, y)
    probe = LinearProbe(strengths=[1.0]).fit(x, y)
    with pytest.raises(ValueError, match="1 of 20 evaluated feature rows"):
        probe.predict(broken)
    with pytest.raises(ValueError, match=r"95 dimensions, the probe was fitted on 96"):
        probe.predict(x[:, 1:])
    with pytest.raises(ValueError, match="20 training feature rows but 19 labels"):
        LinearProbe().fit(x, y[1:])
    with pytest.raises(ValueError, match="expected"):
        LinearProbe().fit(x[0], y)
    with pytest.raises(ValueError, match="positive"):
        LinearProbe(strengths=[0.0])


def test_inner_folds_spread_classes_and_keep_groups():
    labels = np.repeat(["a", "b", "c"], [50, 20, 5])
    fold = inner_folds(labels)
    for name, n in (("a", 10), ("b", 4), ("c", 1)):
        assert (np.bincount(fold[labels == name], minlength=5) == n).all()
    groups = np.arange(75) // 3
    grouped = inner_folds(labels, groups)
    assert all(len(set(grouped[groups == g])) == 1 for g in range(25))
    assert np.bincount(grouped).min() >= 12


def test_inner_folds_treat_missing_groups_as_single_clips():
    fold = inner_folds(list("aaaabbbb"), ["x", "x", None, "", None, "", "y", "y"], n_folds=3)
    assert fold[0] == fold[1]
    assert fold[6] == fold[7]
    assert set(fold) == {0, 1, 2}
    with pytest.raises(ValueError, match="groups has 1 entries for 2"):
        inner_folds(["a", "b"], ["x"])
