"""Probes and fine-tuning where a clip has several labels."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from unfused.probes.fine_tuning import FineTuningSettings, fine_tune
from unfused.probes.knn_probe import KNNProbe
from unfused.probes.probe import Probe
from unfused.probes.results import TRAIN, RowKeys, scored_rows
from unfused.tasks.corpus import Corpus
from unfused.tasks.label_kinds import MULTI_LABEL, SINGLE_LABEL
from unfused.training.settings import TrainingSettings

NAMES = np.array(["bell", "dog", "rain"])


def texts(hits):
    return np.array(["|".join(NAMES[row]) for row in hits], dtype=object)


@pytest.fixture
def made():
    rng = np.random.default_rng(0)
    hits = rng.random((300, 3)) < 0.4
    hits[~hits.any(axis=1), 0] = True
    directions = rng.normal(size=(3, 12))
    return (hits @ directions + 1.5 * rng.normal(size=(300, 12))).astype("f4"), hits


def test_the_probe_is_one_logistic_regression_per_class(made):
    x, hits = made
    probe = Probe(strengths=[1e-2], kind=MULTI_LABEL)
    probe.fit(x, texts(hits), valid=np.arange(300) >= 200)
    assert probe.classes_.tolist() == NAMES.tolist()
    scaled = (x[:200] - x[:200].mean(0)) / x[:200].std(0)
    for c in range(3):
        reference = LogisticRegression(C=1 / (200 * 1e-2), tol=1e-8, max_iter=5000)
        reference.fit(scaled, hits[:200, c])
        np.testing.assert_allclose(probe.train_.weight[c], reference.coef_[0], atol=2e-3)
        assert probe.train_.bias[c] == pytest.approx(reference.intercept_[0], abs=2e-3)


def test_validation_chooses_by_map(made):
    x, hits = made
    probe = Probe(kind=MULTI_LABEL)
    probe.fit(x[:200], texts(hits[:200]), valid=np.arange(200) >= 60)
    assert probe.chosen_on_ == "validation"
    assert probe.scores_[probe.setting_] == max(probe.scores_.values())
    logits = probe.train_.logits(x[60:200])
    expected = average_precision_score(hits[60:200], logits, average="macro")
    assert probe.scores_[probe.setting_] == pytest.approx(expected, abs=1e-3)


def test_without_validation_inner_folds_choose(made):
    x, hits = made
    probe = Probe(kind=MULTI_LABEL).fit(x[:100], texts(hits[:100]))
    assert probe.chosen_on_ == "folds"
    assert len(probe.scores_) == 8
    assert probe.score(x[200:], texts(hits[200:])) > 0.6


def test_neighbours_vote_for_each_class(made):
    x, hits = made
    probe = KNNProbe(neighbours=[5], temperature=1e9, kind=MULTI_LABEL)
    probe.fit(x[:210], texts(hits[:210]), valid=np.arange(210) >= 200)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    for row in range(200, 205):
        near = np.argsort(-unit[:200] @ unit[row])[:5]
        np.testing.assert_allclose(
            probe.train_.logits(x[row : row + 1])[0], hits[near].mean(0) - 0.5, atol=1e-5
        )


def test_neighbours_of_single_labels_equal_scikit_learns():
    from sklearn.neighbors import KNeighborsClassifier

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(120, 6)), rng.integers(4, size=120).astype(str)
    probe = KNNProbe(neighbours=[7], temperature=0.1).fit(x[:80], y[:80])
    reference = KNeighborsClassifier(
        7, metric="cosine", weights=lambda distance: np.exp(-distance / 0.1)
    ).fit(x[:80], y[:80])
    assert (probe.predict(x[80:]) == reference.predict(x[80:])).all()
    np.testing.assert_allclose(
        probe.decision_function(x[80:]), reference.predict_proba(x[80:]), atol=1e-5
    )


def test_k_is_chosen_on_validation_and_never_more_than_there_is():
    x = np.array([[1.0, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]])
    probe = KNNProbe(temperature=1e9, min_valid=4, min_valid_per_class=2)  # no weights: k counts
    probe.fit(np.concatenate([x, x]), list("aabbaabb"), valid=np.arange(8) >= 4)
    assert (probe.chosen_on_, probe.setting_) == ("validation", 1)
    assert KNNProbe(neighbours=[50]).fit(x, list("aabb")).predict(x).tolist() == list("aabb")
    too_few = KNNProbe().fit(x[[0, 2]], ["a", "b"])
    assert (too_few.chosen_on_, too_few.setting_) == ("nothing", 2)


def test_rows_keep_scores_and_say_what_is_likely(made):
    x, hits = made
    probe = Probe(kind=MULTI_LABEL).fit(x[:200], texts(hits[:200]))
    clips = pd.DataFrame({"clip_id": list("xyz"), "label": texts(hits[200:203])})
    test = Corpus.of(None, clips.assign(multi_label=True, frames=9), name="three")
    scores = probe.decision_function(x[200:203])
    keys = RowKeys("decar", "", "fc2", "linear_probe", TRAIN, 0, 0)
    rows, guesses = scored_rows(keys, test, scores, probe.classes_, n_test=3)
    assert rows["metric"].tolist() == ["mAP", "auc", "d_prime"]
    assert guesses["classes"].unique().tolist() == ["bell|dog|rain"]
    np.testing.assert_array_equal(np.stack(guesses["scores"]), scores)
    assert guesses["predicted"].tolist() == texts(scores > 0).tolist()
    assert SINGLE_LABEL.name != MULTI_LABEL.name


def test_fine_tuning_learns_several_labels(tones, make_trained, tmp_path):
    store, labels = tones
    sets = np.array([f"{label}|loud" if i % 2 else label for i, label in enumerate(labels)],
                    dtype=object)  # fmt: skip
    settings = FineTuningSettings(
        training=TrainingSettings(epochs=20, batch_size=10, learning_rate=5e-3, precision="fp32"),
        head="random",
    )
    clips = pd.DataFrame({"clip_id": store.clip_ids, "label": sets, "multi_label": True})
    train, valid = (Corpus.of(store, clips[part]) for part in (slice(40), slice(40, None)))
    tuned = fine_tune(make_trained(), train, valid, settings, folder=tmp_path, seed=0)
    assert tuned.head.classes.tolist() == ["band0", "band1", "band2", "loud"]
    logits = tuned.logits(valid)
    tone = MULTI_LABEL.targets(sets[40:], tuned.head.classes)[:, :3]
    assert average_precision_score(tone, logits[:, :3]) > 0.95
    scored = tuned.history.dropna(subset=["validation_score"])
    assert scored["epoch"].tolist() == list(range(20))
    assert tuned.validation == scored["validation_score"].max()
