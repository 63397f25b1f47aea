from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from unfused.probes.candidates import Candidate, Vectors
from unfused.probes.evaluation import evaluate_frozen, fit_probe
from unfused.probes.probe import Probe
from unfused.tasks.corpus import Corpus
from unfused.tasks.leakage import LeakError, check_no_leak


class Known(Candidate):
    """An encoder of which only the clips it was trained on are known."""

    def load(self):
        seen = list(self.embedder["seen"])
        trained_on = pd.DataFrame({"clip_id": seen, "digest": seen, "corpus": "pool"})
        return SimpleNamespace(trained_on=trained_on)


def task(features, labels, parts):
    """Return a corpus of clips 0, 1, ... and their vectors; it needs no audio."""
    names = [str(i) for i in range(len(labels))]
    clips = pd.DataFrame({"clip_id": names, "digest": names, "offset": 0, "frames": 9,
                          "label": labels, "group": None})  # fmt: skip
    splits = pd.DataFrame({"clip_id": names, "digest": names, "fold": 0, "split": parts})
    vectors = Vectors(np.array(names), np.asarray(features, np.float32), 10)
    return Corpus.of(None, clips, splits), vectors


@pytest.fixture
def made():
    rng = np.random.default_rng(0)
    codes = rng.integers(3, size=180)
    features = np.random.default_rng(9).normal(size=(3, 8))[codes] + rng.normal(size=(180, 8))
    return features, codes.astype(str).astype(object)


def predictions(features, labels, seen=(), transductive=False, protocols=("linear_probe", "knn")):
    """Return the predictions for the test clips, which are the last 60 of 180.

    For each protocol there are two rows a clip: of the probe fitted on training clips only, and of
    that fitted on validation clips too.
    """
    corpus, vectors = task(features, labels, np.repeat(["train", "valid", "test"], 60))
    candidate = Known("decar", "", 0, 0, {"seen": seen}, read_out="fc2")
    found = evaluate_frozen(
        candidate, vectors, corpus, protocols=protocols, transductive=transductive
    )
    return found["predictions"]["predicted"].to_numpy()


def test_nothing_is_fitted_on_test_features_or_labels(made):
    features, labels = made
    honest = predictions(features, labels)
    poisoned, strange = features.copy(), labels.copy()
    poisoned[150:], strange[120:] = 1e30, "0"
    found = predictions(poisoned, strange)
    untouched = np.tile(np.arange(60) < 30, 4)
    assert (found[untouched] == honest[untouched]).all()
    assert len(honest) == 240


def test_the_training_part_is_what_is_fitted(made):
    features, labels = made
    shuffled = labels.copy()
    shuffled[:60] = np.random.default_rng(1).permutation(labels[:60])
    assert (predictions(features, shuffled) != predictions(features, labels)).any()


def test_validation_chooses_and_the_training_part_alone_is_fitted():
    labels = np.array(["a", "b"] * 39, dtype=object)
    for poison in (1e20, -5.0):
        features = np.concatenate([[[0.0], [1.0]] * 9, [[poison]] * 60])
        corpus, vectors = task(features, labels, np.repeat(["train", "valid"], [18, 60]))
        train = corpus.part("train")
        chosen = fit_probe("linear_probe", vectors, train, corpus.part("valid"))
        free = fit_probe("linear_probe", vectors, train)
        same_strength = Probe(strengths=[chosen.setting_], lda=False).fit(
            vectors.of(train), train.labels
        )
        assert chosen.chosen_on_ == "validation"
        assert np.array_equal(chosen.train_.mean, free.all_.mean)
        np.testing.assert_allclose(chosen.train_.weight, same_strength.all_.weight, atol=1e-3)
        assert not np.array_equal(chosen.all_.mean, free.all_.mean)


def test_an_encoder_that_has_seen_a_held_out_clip_is_refused(made):
    for clip in ("60", "179"):
        with pytest.raises(LeakError, match=f"such as {clip}"):
            predictions(*made, seen=[clip])
    predictions(*made, seen=["59"])
    predictions(*made, seen=["179"], transductive=True)


def test_unseen_test_labels_are_named_and_count_as_errors(made, caplog):
    features, labels = made
    strange = labels.copy()
    strange[120:124] = "theremin"
    guesses = predictions(features, strange, protocols=("linear_probe",))
    assert "['theremin']" in caplog.text
    assert "4 test clips count as errors" in caplog.text
    assert len(guesses) == 120
    assert not (guesses == "theremin").any()


def clips(*rows: tuple[str, str], **columns: list) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["clip_id", "digest"])
    return table.assign(corpus="speech", **columns)


def test_disjoint_clips_pass():
    check_no_leak(clips(("a", "1"), ("b", "2")), clips(("c", "3")))


def test_a_shared_clip_is_named():
    with pytest.raises(LeakError, match=r"1 of the 2 clips .* such as b \(trained on: speech\)"):
        check_no_leak(clips(("a", "1"), ("b", "2")), clips(("c", "3"), ("b", "2")))


def test_the_same_audio_under_another_name_is_a_leak():
    with pytest.raises(LeakError, match="such as copy"):
        check_no_leak(clips(("a", "1")), clips(("copy", "1")).drop(columns="corpus"))


def test_other_parts_of_a_file_are_no_leak_where_positions_are_known():
    seen = clips(("a", "1"), offset=[0], frames=[100])
    check_no_leak(seen, clips(("b", "1"), offset=[100], frames=[50]))
    with pytest.raises(LeakError, match="such as b"):
        check_no_leak(seen, clips(("b", "1"), offset=[99], frames=[50]))


def test_clips_without_a_digest_do_not_match_each_other():
    check_no_leak(clips(("a", ""), ("b", None)), clips(("c", ""), ("d", None)))


def test_missing_columns_are_named():
    with pytest.raises(ValueError, match=r"trained_on lacks the columns \['digest'\]"):
        check_no_leak(clips(("a", "1")).drop(columns="digest"), clips(("b", "2")))
