from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from unfused.reporting.comparisons import compare, outcome, student_comparisons


def rows(share, *, seeds=(0,), n=400, seed=0, group=None):
    luck = np.random.default_rng(seed).random(n)
    parts = []
    for number in seeds:
        hit = luck < share + 0.004 * number
        parts.append(pd.DataFrame({
            "seed": number, "fold": 0, "clip_id": [f"c{i}" for i in range(n)], "group": group,
            "label": "a", "predicted": np.where(hit, "a", "b"),
        }))  # fmt: skip
    return pd.concat(parts)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [(0.7, 0.5, "better"), (0.5, 0.7, "worse"), (0.601, 0.6, "not distinguishable")],
)
def test_all_three_outcomes(a, b, expected):
    compared = compare(rows(a), rows(b), n_draws=400)
    assert compared["outcome"] == expected
    assert compared["difference"] == pytest.approx(compared["mean_a"] - compared["mean_b"])
    assert compared["low"] <= compared["difference"] <= compared["high"]


def test_pairing_makes_the_interval_narrower_than_two_separate_ones():
    paired = compare(rows(0.65), rows(0.6), n_draws=400)
    apart = compare(rows(0.65, seed=1), rows(0.6, seed=2), n_draws=400)
    assert paired["high"] - paired["low"] < 0.6 * (apart["high"] - apart["low"])


def test_three_seeds_add_an_interval_over_seeds_and_both_must_agree():
    compared = compare(rows(0.62, seeds=(0, 1, 2)), rows(0.6, seeds=(3, 0, 1, 2)), n_draws=400)
    assert compared["n_seeds"] == 3
    assert np.isnan(compared["seed_low"])  # the differences of the three seeds are all equal
    noisy = rows(0.62, seeds=(0, 1, 2)).copy()
    noisy.loc[(noisy["seed"] == 1) & (noisy["clip_id"] < "c2"), "predicted"] = "b"
    compared = compare(noisy, rows(0.6, seeds=(0, 1, 2)), n_draws=400)
    assert compared["interval"] == "t over 3 seeds"
    assert compared["outcome"] == "not distinguishable"
    assert outcome((0.01, 0.1), (-0.01, 0.2)) == "not distinguishable"
    assert outcome((0.01, 0.1), (0.001, 0.2)) == "better"
    assert outcome((-0.2, -0.1), (np.nan, np.nan)) == "worse"
    assert outcome((np.nan, np.nan)) == "not distinguishable"


def test_only_shared_clips_and_seeds_count():
    part = rows(0.5)
    part = part[part["clip_id"] < "c3"]
    assert compare(rows(0.7), part, n_draws=50)["n_clips"] == len(part)
    with pytest.raises(ValueError, match="share no test clip"):
        compare(rows(0.7), rows(0.7, seeds=(1,)))


def test_every_question_is_asked_once_per_task_and_protocol(three_seeds):
    comparisons = student_comparisons(*three_seeds, n_draws=50)
    asked = comparisons[comparisons["task"] == "NS"].set_index("question")
    assert set(asked.index) == {
        "random_same_cut", "teacher_same_cut", "teacher_own_cut", "full_teacher",
        "log_mel_statistics", "supervised", "control_random_encoder",
        "control_log_mel_statistics", "control_shuffled",
    }  # fmt: skip
    assert len(comparisons) == 2 * len(asked)
    assert asked.loc["random_same_cut", "cut_b"] == "block3"
    assert asked.loc["teacher_own_cut", "cut_b"] == "fc2"
    assert asked.loc["teacher_own_cut", "parameters_b"] == 600_192
    assert asked.loc["full_teacher", "encoder_a"] == "unfused_full"
    assert asked.loc["control_shuffled", "outcome"] == "better"


def test_a_supervised_encoder_under_another_protocol_is_still_compared(one_seed):
    results, predictions = one_seed
    protocol = predictions["protocol"].where(predictions["encoder"] != "supervised", "fine_tuning")
    predictions = predictions.assign(protocol=protocol)
    asked = student_comparisons(results, predictions, n_draws=50).set_index("question")
    assert asked.loc["supervised", "protocol_b"] == "fine_tuning"
    assert asked.loc["supervised", "protocol_a"] == "linear_probe"


def test_missing_baselines_and_strangers_are_left_out(one_seed, caplog):
    results, predictions = one_seed
    alone = predictions[predictions["encoder"] == "unfused"]
    alone = alone[alone["source"] == "teacher"]
    assert student_comparisons(results, alone).empty
    moved = predictions.assign(seed=predictions["seed"].where(predictions["cut"] != "fc2", 7))
    asked = student_comparisons(results, moved, n_draws=50)
    assert "teacher_own_cut" not in set(asked["question"])
    assert "is not compared with" in caplog.text
    with pytest.raises(ValueError, match="metric='speed'"):
        student_comparisons(results, predictions, metric="speed")


def test_null_sources_are_the_same_as_empty_ones(experiment):
    results, predictions = experiment(n_test=60)
    blank = predictions.assign(source=predictions["source"].replace("", None))
    first = student_comparisons(results, predictions, n_draws=50)
    pd.testing.assert_frame_equal(first, student_comparisons(results, blank, n_draws=50))


def test_equal_predictions_differ_in_no_resample(three_seeds):
    predictions = three_seeds[1]
    rows = predictions[
        (predictions["task"] == "NS") & (predictions["encoder"] == "log_mel_statistics")
    ]
    compared = compare(rows, rows.copy(), n_draws=100)
    assert compared["interval"] == "no difference in any resample"
    assert compared["low"] == -compared["high"] < 0
    assert compared["outcome"] == "not distinguishable"
