from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from unfused.probes.frozen_evaluation import evaluate_frozen, fit_probe
from unfused.probes.linear_probe import LinearProbe
from unfused.tasks.task_data import TaskData

from unfused.core.repeats import Repeat
from unfused.probes.candidates import Candidate
from unfused.tasks.leakage import LeakError, check_no_leak


class Rows:
    """A store that only knows where clips are."""

    def rows(self, clip_ids):
        return np.array([int(name) for name in clip_ids], dtype=np.int64)


class Embedded:
    """Embeddings in memory."""

    sizes: ClassVar = {"fc2": {"dimension": 8, "parameters": 10}}

    def __init__(self, matrix):
        self.all = matrix

    def matrix(self, cut, rows):
        return self.all[rows].astype(np.float32)


@pytest.fixture
def made():
    rng = np.random.default_rng(0)
    codes = rng.integers(3, size=180)
    features = np.random.default_rng(9).normal(size=(3, 8))[codes] + rng.normal(size=(180, 8))
    return features, codes.astype(str).astype(object)


def predictions(features, labels, seen=(), transductive=False, protocols=("linear_probe", "knn")):
    """Return the predictions for the test clips, which are the last 60 of 180."""
    names = [str(i) for i in range(180)]
    manifest = pd.DataFrame({"clip_id": names, "digest": names, "offset": 0, "frames": 9,
                             "label": labels, "group": None})  # fmt: skip
    parts = np.repeat(["train", "valid", "test"], 60)
    splits = pd.DataFrame({"clip_id": names, "digest": names, "fold": 0, "split": parts})
    trained_on = pd.DataFrame({"clip_id": seen, "digest": seen, "corpus": "pool"})
    candidate = Candidate("decar", "", ("fc2",), "d", lambda: None, lambda: trained_on)
    found = evaluate_frozen(
        candidate, Embedded(features), TaskData(Rows(), manifest, splits), Repeat(0, 0),
        protocols=protocols, transductive=transductive, facts={},
    )  # fmt: skip
    return found["predictions"]["predicted"].to_numpy()


def test_nothing_is_fitted_on_test_features_or_labels(made):
    features, labels = made
    honest = predictions(features, labels)
    poisoned, strange = features.copy(), labels.copy()
    poisoned[150:], strange[120:] = 1e30, "0"
    found = predictions(poisoned, strange)
    untouched = np.tile(np.arange(60) < 30, 2)
    assert (found[untouched] == honest[untouched]).all()
    assert len(honest) == 120


def test_the_training_part_is_what_is_fitted(made):
    features, labels = made
    shuffled = labels.copy()
    shuffled[:60] = np.random.default_rng(1).permutation(labels[:60])
    assert (predictions(features, shuffled) != predictions(features, labels)).any()


def test_validation_chooses_and_is_not_fitted_on():
    features, labels = {"train": [[0.0], [1.0]] * 9}, {"train": ["a", "b"] * 9}
    free = fit_probe("linear_probe", features, labels)
    for poison in (1e20, -5.0):
        chosen = fit_probe(
            "linear_probe", features | {"valid": [[poison]] * 2}, labels | {"valid": ["a", "b"]}
        )
        same_strength = LinearProbe(strengths=[chosen.strength_]).fit(
            features["train"], labels["train"], features["train"], labels["train"]
        )
        assert np.array_equal(chosen.classifier_.mean, free.classifier_.mean)
        np.testing.assert_allclose(
            chosen.classifier_.weight, same_strength.classifier_.weight, atol=1e-3
        )


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
    assert len(guesses) == 60
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
