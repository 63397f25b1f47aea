import pandas as pd
import pytest

from unfused.probes.results import (
    PREDICTION_COLUMNS,
    RESULT_COLUMNS,
    RowKeys,
    prediction_rows,
    result_rows,
    score,
)

KEYS = RowKeys("unfused", "teacher", "block3", "linear_probe", 1, 0)


def test_score_has_every_metric():
    assert score(["a", "b"], ["a", "a"]) == pytest.approx(
        {"accuracy": 0.5, "balanced_accuracy": 0.5, "macro_f1": 1 / 3}
    )


def test_result_rows_are_long():
    rows = result_rows(
        KEYS, ["a", "b"], ["a", "a"], task="t", n_train=5, embedding="whole_clip"
    ).set_index("metric")
    assert rows.loc["accuracy", "value"] == 0.5
    assert (rows["encoder"] == "unfused").all()
    assert (rows["n_train"] == 5).all()
    assert list(rows.reset_index()) != []
    assert set(rows.reset_index()) <= set(RESULT_COLUMNS)


def test_prediction_rows_keep_clips_in_order_and_labels_as_text():
    clips = pd.DataFrame({"clip_id": ["x", "y"], "label": ["01", "1"], "group": [None, "anna"]})
    rows = prediction_rows(KEYS, clips, ["1", "1"], task="t")
    assert list(rows) == [c for c in PREDICTION_COLUMNS if c not in ("classes", "scores")]
    assert list(rows["label"]) == ["01", "1"]
    assert rows["group"].isna().tolist() == [True, False]
    assert (rows["seed"] == 1).all()


def test_unknown_facts_are_refused():
    with pytest.raises(ValueError, match=r"\['n_clips'\] are no columns"):
        result_rows(KEYS, ["a"], ["a"], n_clips=3)
