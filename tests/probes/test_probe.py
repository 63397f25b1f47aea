"""How a probe is chosen, fitted to all labels and calibrated."""

import json

import numpy as np
import pytest

from unfused.probes import linear_models
from unfused.probes import probe as module
from unfused.probes.head import Head, load_head, save_head
from unfused.probes.probe import (
    FEW_PER_CLASS,
    FOLDS,
    LDA,
    PATIENCE,
    STRENGTHS,
    WITHOUT_CHOICE,
    KNNProbe,
    Probe,
)
from unfused.scores.metrics import calibration_error
from unfused.tasks.label_kinds import MULTI_LABEL, SINGLE_LABEL


def make_features(n: int, *, seed: int = 0, n_classes: int = 6, dimension: int = 96):
    """Rectified features of overlapping classes on very different scales, as encoders make them."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(n_classes, 12)) * 0.7
    mixing = rng.normal(size=(12, dimension))
    scale = 10 ** rng.uniform(-2, 2, size=dimension)
    rng = np.random.default_rng(seed + 1)
    y = rng.permutation(np.arange(n) % n_classes)
    x = (centres[y] + rng.normal(size=(n, 12))) @ mixing + rng.normal(size=(n, dimension))
    return (np.maximum(x, 0) * scale).astype(np.float32), np.array([f"k{i}" for i in y])


def last(n: int, held: int):
    return np.arange(n) >= n - held


def fit_head(x, y, kind=SINGLE_LABEL):
    return Head.of_probe(Probe(kind=kind).fit(x, y))


def said(probe, linear, x):
    return probe.classes_[linear.logits(x).argmax(1)]


def test_validation_clips_choose_if_there_are_enough():
    x, y = make_features(300)
    probe = Probe(lda=False).fit(x, y, valid=last(300, 100))
    assert probe.chosen_on_ == "validation"
    followed = list(probe.scores_)
    assert followed == list(STRENGTHS)[: len(followed)]
    worse = [score < max(probe.scores_.values()) for score in probe.scores_.values()]
    assert len(followed) == len(STRENGTHS) or all(worse[-PATIENCE:])
    assert probe.validation_ == probe.scores_[probe.setting_] == max(probe.scores_.values())
    right = said(probe, probe.train_, x[200:]) == y[200:]
    by_class = np.mean([right[y[200:] == name].mean() for name in probe.classes_])
    assert probe.validation_ == pytest.approx(by_class, abs=0.02)  # chosen to a rough tolerance
    assert 0.02 < probe.validation_error_ < 0.08


@pytest.mark.parametrize(
    ("held", "groups", "per_class"),
    [
        (40, None, 5),  # fewer than 50
        (58, None, 10),  # 58 of 6 classes: fewer than 10 of some
        (100, np.arange(300) // 50, 5),  # two speakers
        (0, None, 5),
    ],
)
def test_folds_choose_where_validation_is_small(held, groups, per_class, monkeypatch):
    x, y = make_features(300)
    monkeypatch.setattr(module, "MIN_VALID_PER_CLASS", per_class)
    probe = Probe(lda=False).fit(x, y, valid=last(300, held), groups=groups)
    assert probe.chosen_on_ == "folds"
    assert set(probe.scores_) == set(STRENGTHS)
    assert probe.validation_ < 1.0  # held-out folds, not the training clips


def test_it_is_fitted_again_on_validation_clips():
    x, y = make_features(400)
    held = last(400, 100)
    probe = Probe(lda=False).fit(x, y, valid=held)
    alone = Probe(lda=False, strengths=[probe.setting_])
    train, both = alone.fit(x[~held], y[~held]).all_, alone.fit(x, y).all_
    np.testing.assert_allclose(probe.train_.weight, train.weight, atol=1e-4)
    np.testing.assert_allclose(probe.all_.weight, both.weight, atol=1e-4)
    assert np.abs(train.weight - both.weight).max() > 0.01
    x_test, y_test = make_features(600, seed=9)
    gain = (said(probe, probe.all_, x_test) == y_test).mean()
    assert gain >= (said(probe, probe.train_, x_test) == y_test).mean() - 0.01


def test_ties_go_to_the_stronger_penalty_and_to_logistic_regression():
    x = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]] * 4)
    probe = Probe(strengths=[1e-3, 1e-1, 1e-2]).fit(x, list("aaabbb") * 4)
    assert set(probe.scores_.values()) == {1.0}
    assert probe.setting_ == 1e-1


def test_of_very_few_clips_a_class_lda_alone_is_tried():
    x, y = make_features(6 * (FEW_PER_CLASS - 1))
    probe = Probe().fit(x, y)
    assert list(probe.scores_) == [LDA]
    assert probe.chosen_on_ == FOLDS
    assert 0 < probe.validation_ < 1
    x, y = make_features(6 * FEW_PER_CLASS)
    assert len(Probe().fit(x, y).scores_) > 1


def test_lda_is_chosen_where_it_leads():
    rng = np.random.default_rng(0)
    y = np.arange(600) % 3
    noise = rng.normal(size=(600, 4)) @ rng.normal(size=(4, 60)) * 4  # correlated, no class in it
    x = noise + 0.7 * rng.normal(size=(3, 60))[y] + 0.3 * rng.normal(size=(600, 60))
    few = np.arange(45)
    probe = Probe(strengths=[1e1]).fit(x[few], y[few].astype(str))
    assert probe.scores_[LDA] > probe.scores_[1e1] + 0.2
    assert probe.setting_ == LDA
    assert probe.score(x[45:], y[45:].astype(str)) > 0.85
    assert LDA not in Probe(lda=False).fit(x[few], y[few].astype(str)).scores_


def test_a_good_lda_does_not_keep_weak_penalties_from_being_tried():
    rng = np.random.default_rng(0)
    y = np.arange(400) % 4
    noise = rng.normal(size=(400, 8)) @ rng.normal(size=(8, 60)) * 4
    x = noise + 0.5 * rng.normal(size=(4, 60))[y] + 0.2 * rng.normal(size=(400, 60))
    probe = Probe().fit(x, y.astype(str), valid=last(400, 100))
    lda, *path = probe.scores_.values()
    assert next(iter(probe.scores_)) == LDA
    assert path == sorted(path)  # every penalty is better than the one before
    assert sum(score < lda for score in path) >= PATIENCE
    assert len(path) == len(STRENGTHS)


def test_grouped_folds_see_through_speaker_features():
    """Features that only name the speaker look perfect unless speakers are held out."""
    rng = np.random.default_rng(0)
    speaker = np.repeat(np.arange(12), 10)
    y = np.where(speaker % 2 == 0, "a", "b")
    x = np.eye(12)[speaker] + rng.normal(size=(120, 12)) * 0.01
    assert Probe().fit(x, y).validation_ == 1.0
    assert Probe().fit(x, y, groups=speaker).validation_ < 0.8


def test_few_clips_are_dealt_anew_until_there_are_enough_predictions(monkeypatch):
    x, y = make_features(60)
    fitted = []
    models = Probe._models
    monkeypatch.setattr(Probe, "_models", lambda *a: fitted.append(1) or models(*a))
    Probe(lda=False).fit(x, y)
    assert len(fitted) == 15  # five folds, three times
    fitted.clear()
    monkeypatch.setattr(module, "FEW", 100)
    Probe(lda=False).fit(x, y)
    assert len(fitted) == 10


def test_one_clip_of_each_class_falls_back_to_a_fixed_penalty():
    x, y = make_features(200)
    first = [np.flatnonzero(y == name)[0] for name in np.unique(y)]
    probe = Probe().fit(x[first], y[first])
    assert (probe.setting_, probe.chosen_on_) == (WITHOUT_CHOICE, "nothing")
    assert probe.scores_ == {}
    assert np.isnan(probe.validation_)
    assert probe.calibration_.temperature == 1.0
    assert (probe.predict(x[first]) == y[first]).all()


def test_same_data_same_probe():
    x, y = make_features(100)
    first, second = (Probe().fit(x, y) for _ in range(2))
    np.testing.assert_array_equal(first.all_.weight, second.all_.weight)
    assert first.scores_ == second.scores_


def test_bad_input_is_refused_and_named():
    x, y = make_features(24)
    broken = x.copy()
    broken[7, 3] = np.nan
    with pytest.raises(ValueError, match=r"1 of 24 .* row 7"):
        Probe().fit(broken, y)
    probe = Probe(strengths=[1.0]).fit(x, y)
    with pytest.raises(ValueError, match="1 of 24"):
        probe.predict(broken)
    with pytest.raises(ValueError, match=r"95 dimensions, the probe was fitted on 96"):
        probe.predict(x[:, 1:])
    with pytest.raises(ValueError, match="24 feature rows, 23 labels"):
        Probe().fit(x, y[1:])
    with pytest.raises(ValueError, match="expected"):
        Probe().fit(x[0], y)
    with pytest.raises(ValueError, match="positive"):
        Probe(strengths=[0.0])
    with pytest.raises(ValueError, match=r"all of class \['a'\].*at least 2 classes"):
        Probe().fit(np.eye(3), ["a", "a", "a"])
    with pytest.raises(ValueError, match="at least 2 classes"):
        Probe().fit(np.eye(3), ["a", "a", "b"], valid=[False, False, True])


def sure(probe, x, y):
    likely = probe.calibration_.probabilities(probe.decision_function(x), several=False)
    return likely.max(1), probe.classes_[likely.argmax(1)] == y


def test_a_class_of_one_speaker_does_not_spoil_the_calibration():
    x, names = make_features(360)
    speakers = np.random.default_rng(0).integers(0, 10, len(x))
    speakers[names == "k5"] = 0
    options, unseen = {"strengths": [0.01], "lda": False}, make_features(2000, seed=3)
    wanted = Probe(**options).fit(x, names).calibration_
    found = (grouped := Probe(**options).fit(x, names, groups=speakers)).calibration_
    assert found.temperature == pytest.approx(wanted.temperature, rel=0.3)
    assert found.evidence == pytest.approx(wanted.evidence, rel=0.3)
    assert calibration_error(*sure(grouped, *unseen)) < 0.06


def test_a_label_of_every_clip_that_a_fold_learns_from_does_not_spoil_the_calibration():
    x, names = make_features(300)
    speakers = np.random.default_rng(0).integers(0, 5, len(x))
    usual = np.array([f"{name}|day" if speaker else name  # night is the one speaker's
                      for name, speaker in zip(names, speakers, strict=True)])  # fmt: skip
    probes = [Probe(kind=MULTI_LABEL).fit(x, labels, groups=speakers) for labels in (names, usual)]
    first, second = (probe.calibration_.temperature for probe in probes)
    assert second == pytest.approx(first, rel=0.3)


@pytest.mark.parametrize("options", [{"strengths": [1e1], "lda": False}, {"strengths": [1e9]}])
def test_calibration_repairs_what_is_too_timid_and_what_is_too_sure(options):
    """A penalty chosen on one clip a class left mean top probabilities of .09; LDA is too sure."""
    x, y = make_features(120, n_classes=12)
    x_test, y_test = make_features(1200, seed=5, n_classes=12)
    probe = Probe(**options).fit(x, y, valid=last(120, 12))
    plain = probe.calibration_._replace(temperature=1.0)
    likely = plain.probabilities(probe.decision_function(x_test), several=False)
    right = probe.classes_[likely.argmax(1)] == y_test
    before = calibration_error(likely.max(1), right)
    likely, right = sure(probe, x_test, y_test)
    after = calibration_error(likely, right)
    assert before > 0.12
    assert after < before / 2
    assert likely.mean() == pytest.approx(right.mean(), abs=0.08)
    assert probe.calibration_.error < 0.12


def test_what_is_none_of_the_classes_is_strange():
    x, y = make_features(900, n_classes=9)
    known = y < "k6"
    x_test, y_test = make_features(900, seed=3, n_classes=9)
    head = fit_head(x[known], y[known])
    strange = head.strangeness(x_test)
    ours, others = strange[y_test < "k6"], strange[y_test >= "k6"]
    assert (others[:, None] > ours).mean() > 0.62  # area under the ROC curve
    assert abs(ours.mean()) < 1
    noise = head.strangeness(np.zeros_like(x_test[:5]))
    assert np.isfinite(noise).all()


@pytest.mark.parametrize("lda", [True, False])
def test_what_is_far_from_all_classes_is_strange_however_sure_the_classes_are(lda):
    x, y = make_features(300)
    x_test, _ = make_features(200, seed=3)
    head = Head.of_probe(Probe(lda=lda).fit(x, y))
    far = x_test + 20 * x_test.std()
    assert (head.probabilities(far).max(1) > 0.9).mean() > 0.9
    assert head.strangeness(far).min() > 3
    assert (head.strangeness(x_test) > 3).mean() < 0.05


def test_distances_are_to_the_nearest_class(monkeypatch):
    monkeypatch.setattr(linear_models, "_ROWS", 7)  # of several blocks
    x, y = make_features(60, n_classes=3)
    linear = Probe().fit(x, y).all_
    scaled = (x - x.mean(0)) / x.std(0)
    centres = np.array([scaled[y == name].mean(0) for name in np.unique(y)])
    expected = np.square(scaled[:, None] - centres).mean(2).min(1)
    np.testing.assert_allclose(np.exp(linear.distances(x)), expected, rtol=1e-4)


def several(n, seed=0):
    rng = np.random.default_rng(seed)
    hits = rng.random((n, 3)) < 0.4
    hits[~hits.any(axis=1), 0] = True
    directions = np.random.default_rng(9).normal(size=(3, 12))
    x = (hits @ directions + 1.2 * rng.normal(size=(n, 12))).astype("f4")
    names = np.array(["bell", "dog", "rain"])
    return x, np.array(["|".join(names[row]) for row in hits], dtype=object), hits


def test_thresholds_of_several_labels_are_learnt():
    (x, y, _), (x_test, y_test, hits) = several(300), several(400, seed=1)
    head = fit_head(x, y, kind=MULTI_LABEL)
    assert len(head.calibration.thresholds) == 3
    likely = head.probabilities(x_test)
    over = likely >= np.array(head.calibration.thresholds)
    assert (over == hits).mean() > 0.75
    assert list(head.named(likely[:5])) == ["|".join(head.classes[row]) for row in over[:5]]
    assert calibration_error(likely.ravel(), hits.ravel()) < 0.08
    assert (head.named(likely) == y_test).mean() > 0.4


def test_several_labels_are_chosen_by_map_on_folds():
    from sklearn.metrics import average_precision_score

    x, y, hits = several(200)
    probe = Probe(kind=MULTI_LABEL).fit(x, y, valid=last(200, 100))
    assert probe.chosen_on_ == "validation"
    expected = average_precision_score(hits[100:], probe.train_.logits(x[100:]), average="macro")
    assert probe.validation_ == pytest.approx(expected, abs=2e-3)
    folds = Probe(kind=MULTI_LABEL).fit(x, y)
    assert folds.chosen_on_ == "folds"
    assert LDA not in folds.scores_
    assert folds.score(x, y) > folds.validation_ - 0.1


def test_neighbours_are_scikit_learns(monkeypatch):
    from sklearn.neighbors import KNeighborsClassifier

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(120, 6)), (np.arange(120) % 4).astype(str)
    monkeypatch.setattr(module, "NEIGHBOURS", (7,))
    monkeypatch.setattr(module, "TEMPERATURE", 0.1)
    probe = KNNProbe().fit(x[:80], y[:80])
    reference = KNeighborsClassifier(
        7, metric="cosine", weights=lambda distance: np.exp(-distance / 0.1)
    ).fit(x[:80].astype("f4"), y[:80])
    assert (probe.predict(x[80:]) == reference.predict(x[80:].astype("f4"))).all()
    np.testing.assert_allclose(
        probe.decision_function(x[80:]), reference.predict_proba(x[80:].astype("f4")), atol=1e-5
    )


def test_neighbours_vote_for_each_of_several_labels(monkeypatch):
    x, y, hits = several(210)
    monkeypatch.setattr(module, "NEIGHBOURS", (5,))
    monkeypatch.setattr(module, "TEMPERATURE", 1e9)
    probe = KNNProbe(kind=MULTI_LABEL).fit(x[:200], y[:200])
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    for row in range(200, 205):
        near = np.argsort(-unit[:200] @ unit[row])[:5]
        votes = probe.decision_function(x[row : row + 1])[0] + 0.5
        np.testing.assert_allclose(votes, hits[near].mean(0), atol=1e-5)


def test_the_number_of_neighbours_is_chosen_and_never_more_than_there_is():
    x = np.array([[1.0, 0], [0.9, 0.1], [0.95, 0], [0, 1], [0.1, 0.9], [0, 0.95]])
    probe = KNNProbe().fit(x, list("aaabbb"))
    assert probe.scores_[probe.setting_] == max(probe.scores_.values())
    assert KNNProbe().fit(x[[0, 3]], list("ab")).setting_ == 2


def test_a_head_survives_its_folder(tmp_path):
    x, y = make_features(120)
    probe = Probe().fit(x, y)
    head = Head.of_probe(probe, task="toy")
    save_head(tmp_path, head)
    again = load_head(tmp_path)
    np.testing.assert_array_equal(again.logits(x), probe.decision_function(x))
    np.testing.assert_array_equal(again.probabilities(x), head.probabilities(x))
    np.testing.assert_array_equal(again.strangeness(x), head.strangeness(x))
    assert (again.named(again.probabilities(x)) == probe.predict(x)).all()
    assert again.provenance == head.provenance
    assert again.calibration == head.calibration
    np.testing.assert_allclose(head.probabilities(x).sum(1), 1, atol=1e-5)


def test_a_damaged_head_is_refused(tmp_path):
    x, y = make_features(60)
    head = fit_head(x, y)
    with pytest.raises(FileNotFoundError, match="no classifier"):
        load_head(tmp_path)
    for damage, words in (
        (lambda: (tmp_path / "head.json").write_text("{"), "is damaged"),
        (lambda: (tmp_path / "head.safetensors").write_bytes(b"x"), "interrupted"),
        (
            lambda: (tmp_path / "head.json").write_text(
                json.dumps({**json.loads((tmp_path / "head.json").read_text()), "format": 99})
            ),
            "format 99",
        ),
    ):
        save_head(tmp_path, head)
        damage()
        with pytest.raises(ValueError, match=words):
            load_head(tmp_path)
    with pytest.raises(ValueError, match="embed with"):
        head.logits(np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match="finite"):
        Head(
            head.classes, head.kind, head.linear._replace(bias=np.full(6, np.nan)), head.calibration
        )
