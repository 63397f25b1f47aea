import numpy as np
import pandas as pd
import pytest

from unfused.evaluation.leakage import LeakError, check_no_leak
from unfused.evaluation.linear_probe import LinearProbe
from unfused.evaluation.probing import evaluate_linear


def make_parts(seed: int = 0) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    labels = {part: rng.integers(3, size=60).astype(str) for part in ("train", "valid", "test")}
    centres = np.random.default_rng(9).normal(size=(3, 8))
    features = {
        part: centres[y.astype(int)] + rng.normal(size=(60, 8)) for part, y in labels.items()
    }
    return features, labels


def same_fit(first: LinearProbe, second: LinearProbe) -> bool:
    pairs = zip(first.classifier_, second.classifier_, strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_nothing_is_fitted_on_test_features_or_labels():
    features, labels = make_parts()
    honest = evaluate_linear(features, labels)
    poisoned = evaluate_linear(
        features | {"test": np.full((60, 8), 1e30)}, labels | {"test": ["0"] * 60}
    )
    assert same_fit(honest.probe, poisoned.probe)
    assert honest.probe.scores_ == poisoned.probe.scores_


def test_nan_in_test_features_is_met_only_after_fitting():
    features, labels = make_parts()
    probe = LinearProbe()
    with pytest.raises(ValueError, match="evaluated feature rows are not finite"):
        evaluate_linear(features | {"test": np.full((60, 8), np.nan)}, labels, probe=probe)
    assert same_fit(probe, evaluate_linear(features, labels).probe)


def test_validation_features_choose_the_penalty_and_nothing_else():
    features, labels = make_parts()
    probe = LinearProbe(strengths=[1e-2])
    poisoned = evaluate_linear(
        features | {"valid": np.full((60, 8), 1e20)}, labels, probe=LinearProbe(strengths=[1e-2])
    )
    assert same_fit(evaluate_linear(features, labels, probe=probe).probe, poisoned.probe)


def test_every_test_row_is_predicted_on_its_own():
    features, labels = make_parts()
    whole = evaluate_linear(features, labels).predicted
    some = {"test": features["test"][:7]}, {"test": labels["test"][:7]}
    assert (evaluate_linear(features | some[0], labels | some[1]).predicted == whole[:7]).all()


def test_unseen_test_labels_are_named_and_count_as_errors(caplog):
    features, labels = make_parts()
    strange = labels["test"].copy()
    strange[:4] = "theremin"
    result = evaluate_linear(features, labels | {"test": strange})
    assert "['theremin']" in caplog.text
    assert "4 test clips count as errors" in caplog.text
    assert len(result.predicted) == 60
    assert not (result.predicted[:4] == "theremin").any()


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
