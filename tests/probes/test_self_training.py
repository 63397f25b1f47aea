"""Probes that learn from clips without a label, too."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from unfused.core.errors import UserError
from unfused.probes import self_training as module
from unfused.probes.linear_models import Standardised, shrinkage_lda
from unfused.probes.probe import FEW_PER_CLASS, LDA, SELF_TRAINING, KNNProbe, Probe
from unfused.probes.self_training import Axes, Unlabelled
from unfused.tasks.label_kinds import MULTI_LABEL

K, D = 4, 200


def make_features(n, seed=0, strength=0.5):
    """Classes along few directions that matter, speakers and noise along others."""
    rng = np.random.default_rng(0)
    directions, nuisance = rng.normal(size=(K, D)), rng.normal(size=(10, D))
    scale, offset = 10 ** rng.uniform(-1, 1, D), rng.normal(size=D)
    rng = np.random.default_rng(seed + 1)
    y = rng.permutation(np.arange(n) % K)
    x = strength * directions[y] + 0.4 * rng.normal(size=(n, 10)) @ nuisance
    x += 0.5 * rng.normal(size=(n, D))
    return (x * scale + offset).astype(np.float32), y.astype(str)


def few(x, y, each=3):
    chosen = np.concatenate([np.flatnonzero(y == name)[:each] for name in np.unique(y)])
    return chosen, np.isin(np.arange(len(y)), chosen)


def reference(x_few, y_few, x_all, known):
    """The same in other words: full SVD, repeated clips in place of shares, sklearn's LDA first."""
    mean, scale = x_all.mean(0), x_all.std(0)
    _, _, axes = np.linalg.svd((x_all - mean) / scale, full_matrices=False)
    kept = min(module.MOST_AXES, len(x_all) // 3)

    def on_axes(rows):
        return (rows - mean) / scale @ axes[:kept].T

    first = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(x_few, y_few)
    others, named = x_all[~known], first.predict(x_all[~known])
    for _ in range(module.ROUNDS):  # 10 to 3 are the shares
        x = np.repeat(np.concatenate([on_axes(x_few), on_axes(others)]),
                      [10] * len(x_few) + [3] * len(others), axis=0)  # fmt: skip
        y = np.repeat(np.concatenate([y_few, named]), [10] * len(x_few) + [3] * len(others))
        classes, codes = np.unique(y, return_inverse=True)
        means = np.stack([x[y == name].mean(0) for name in classes])
        covariance = np.cov((x - means[codes]).T, bias=True)
        covariance = 0.9 * covariance + 0.1 * np.diag(np.diag(covariance))
        inverse = np.linalg.inv(covariance)

        def logits(rows, means=means, inverse=inverse, codes=codes):
            z = on_axes(rows)
            squares = np.stack([((z - m) @ inverse * (z - m)).sum(1) for m in means], axis=1)
            return np.log(np.bincount(codes) / len(codes)) - squares / 2

        named = classes[logits(others).argmax(1)]
    return logits


def shifted(logits):
    return logits - logits.mean(axis=1, keepdims=True)


def test_it_is_what_it_says(monkeypatch):
    monkeypatch.setattr(module, "MOST_AXES", 12)
    x, y = make_features(150)
    chosen, known = few(x, y)
    data = Standardised(x[chosen], y[chosen].astype(int), K)
    found = Unlabelled(x).but(known).lda(data).logits(x)
    expected = reference(x[chosen], y[chosen], x, known)(x)
    np.testing.assert_allclose(shifted(found), shifted(expected), rtol=0.02, atol=0.05)


def test_without_shrinkage_it_is_scikit_learns(monkeypatch):
    monkeypatch.setattr(module, "SHRINKAGE", 0.0)
    x, y = make_features(400, strength=0.1)
    x = x[:, :20]
    weight, bias = module._weighted_lda(x, y.astype(int), np.ones(len(x)))
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(x, y)
    expected = x @ theirs.coef_.T + theirs.intercept_
    np.testing.assert_allclose(shifted(x @ weight.T + bias), shifted(expected), atol=1e-3)


def test_axes_are_those_of_least_squares():
    x, _ = make_features(90)
    mean, axes = Axes.of(x)
    assert axes.shape == (30, D)
    z = (x - mean) @ axes.T
    variances = z.var(axis=0)
    assert variances[0] == pytest.approx(1, rel=0.05)
    assert (np.diff(variances) < 1e-6).all()
    sizes = np.linalg.svd((x - x.mean(0)) / x.std(0), compute_uv=False) ** 2
    np.testing.assert_allclose(variances[:10], sizes[:10] / sizes[0], rtol=0.05)
    constant = np.column_stack([x, np.full(len(x), 7.0)])
    assert np.isfinite(Axes.of(constant).axes).all()
    assert Axes.of(x[:2]).axes.shape == (1, D)


def test_clips_without_a_label_help():
    gains = []
    for seed in range(5):
        x, y = make_features(400, seed)
        x_test, y_test = make_features(400, seed + 50)
        chosen, known = few(x, y, 2)
        alone = Probe().fit(x[chosen], y[chosen]).score(x_test, y_test)
        probe = Probe().fit(x[chosen], y[chosen], unlabelled=Unlabelled(x).but(known))
        assert probe.setting_ == SELF_TRAINING
        gains.append(probe.score(x_test, y_test) - alone)
    assert np.mean(gains) > 0.1
    assert min(gains) > -0.05


def test_it_is_the_only_candidate_of_few_clips_and_one_of_many():
    x, y = make_features(800)
    for each, expected in ((FEW_PER_CLASS - 1, {SELF_TRAINING}), (40, None)):
        chosen, known = few(x, y, each)
        probe = Probe().fit(x[chosen], y[chosen], unlabelled=Unlabelled(x).but(known))
        tried = set(probe.scores_)
        assert tried == expected if expected else {SELF_TRAINING, LDA, 1e-2} < tried
        assert 0 < probe.validation_ <= 1


def test_fewer_than_the_labelled_are_not_heard():
    x, y = make_features(80)
    chosen, known = few(x, y, 12)
    probe = Probe().fit(x[chosen], y[chosen], unlabelled=Unlabelled(x).but(known))
    assert SELF_TRAINING not in probe.scores_
    none = Unlabelled(x).but(np.ones(len(x), bool))
    assert len(none) == 0
    assert Probe().fit(x[chosen], y[chosen], unlabelled=none).setting_ != SELF_TRAINING


def test_on_a_tie_a_penalty_is_taken():
    x = np.repeat([[0.0, 1.0], [5.0, 0.0]], 200, axis=0) + np.linspace(0, 0.1, 400)[:, None]
    y = np.repeat(["a", "b"], 200)
    chosen, known = few(x, y, FEW_PER_CLASS)
    probe = Probe().fit(x[chosen], y[chosen], unlabelled=Unlabelled(x).but(known))
    assert set(probe.scores_.values()) == {1.0}
    assert probe.setting_ == max(key for key in probe.scores_ if not isinstance(key, str))


def test_one_label_a_class_is_enough():
    x, y = make_features(200, strength=1.0)
    chosen, known = few(x, y, 1)
    probe = Probe().fit(x[chosen], y[chosen], unlabelled=Unlabelled(x).but(known))
    assert probe.chosen_on_ == "nothing"
    assert probe.setting_ == SELF_TRAINING
    alone = Probe().fit(x[chosen], y[chosen]).score(x[~known], y[~known])
    assert probe.score(x[~known], y[~known]) > alone


def test_a_class_that_no_fold_learnt_is_never_named():
    x, y = make_features(200)
    chosen, known = few(x, y, 4)
    data = Standardised(x[chosen], y[chosen].astype(int), K + 2)
    named = Unlabelled(x).but(known).lda(data).logits(x).argmax(1)
    assert set(named) <= set(range(K))


def test_other_probes_do_without():
    x, y = make_features(200)
    chosen, known = few(x, y, 4)
    without = Unlabelled(x).but(known)
    assert KNNProbe().fit(x[chosen], y[chosen], unlabelled=without).setting_ != SELF_TRAINING
    several = np.array([f"{name}|{'0' if name > '1' else '3'}" for name in y[chosen]])
    probe = Probe(kind=MULTI_LABEL).fit(x[chosen], several, unlabelled=without)
    assert SELF_TRAINING not in probe.scores_


def test_the_same_is_found_again_and_what_is_not_finite_refused():
    x, y = make_features(200)
    chosen, known = few(x, y, 4)
    data = Standardised(x[chosen], y[chosen].astype(int), K)
    first, second = (Unlabelled(x).but(known).lda(data) for _ in range(2))
    np.testing.assert_array_equal(first.weight, second.weight)
    assert not np.allclose(first.weight, shrinkage_lda(data).weight)
    poisoned = x.copy()
    poisoned[~known] = np.nan
    for bad in (Unlabelled(poisoned), Unlabelled(x[:, :5])):
        with pytest.raises(UserError, match=f"must be finite and of {D} dimensions"):
            bad.but(known).lda(data)


def test_an_encoder_that_says_the_same_of_every_clip_ends_no_run():
    same, y = np.ones((60, 8), np.float32), np.array(list("ab") * 30)
    chosen, known = few(same, y)
    probe = Probe().fit(same[chosen], y[chosen], unlabelled=Unlabelled(same).but(known))
    assert np.isfinite(probe.decision_function(same)).all()
