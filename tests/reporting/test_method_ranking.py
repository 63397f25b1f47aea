"""Average ranks and comparisons of many encoders."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import friedmanchisquare

from unfused.reporting.aggregate import summarise
from unfused.reporting.figures.average_ranks import average_ranks
from unfused.reporting.method_ranking import (
    compare_methods,
    critical_difference,
    holm,
    own_cuts,
    rank_encoders,
)


def rows(encoder, task, share_right, cut="fc2", parameters=100, source=""):
    """Return result and prediction rows of 200 test clips."""
    rng = np.random.default_rng(len(encoder + task))
    labels = np.array(["a", "b"])[np.arange(200) % 2]
    right = np.arange(200) < 200 * share_right
    right = rng.permutation(right)
    key = {"task": task, "encoder": encoder, "source": source, "cut": cut,
           "protocol": "linear_probe", "seed": 0, "fold": 0}  # fmt: skip
    predictions = pd.DataFrame({
        **key, "clip_id": [f"{task}{i}" for i in range(200)], "group": None, "label": labels,
        "predicted": np.where(right, labels, np.where(labels == "a", "b", "a")),
    })  # fmt: skip
    results = pd.DataFrame([{**key, "metric": "accuracy", "value": share_right, "n_test": 200,
                             "parameters": parameters, "dimension": 8}])  # fmt: skip
    return results, predictions


@pytest.fixture
def study():
    shares = {"decar": (0.9, 0.8, 0.7), "slicer": (0.8, 0.7, 0.72), "random_init": (0.6, 0.6, 0.5)}
    made = [
        rows(encoder, task, share)
        for encoder, given in shares.items()
        for task, share in zip("xyz", given, strict=True)
    ]
    made.append(rows("decar", "x", 0.95, cut="block3", parameters=10))
    made.append(rows("unfused", "x", 0.99, source="shuffled"))
    results, predictions = (pd.concat(part, ignore_index=True) for part in zip(*made, strict=True))
    return summarise(results, predictions, n_draws=200), predictions


def test_ranks_are_averaged_over_tasks(study):
    ranking = rank_encoders(study[0])
    assert ranking["name"].tolist() == ["DECAR-v2 teacher", "SLICER", "Random init"]
    assert ranking["average_rank"].tolist() == pytest.approx([4 / 3, 5 / 3, 3])
    assert ranking["mean"].tolist() == pytest.approx([0.8, 0.74, 17 / 30])
    assert (ranking["n_tasks"] == 3).all()


def test_an_encoder_that_lacks_a_task_is_left_out(study):
    summary = study[0]
    part = summary[(summary["task"] != "y") | (summary["encoder"] != "slicer")]
    assert rank_encoders(part)["encoder"].tolist() == ["decar", "random_init"]


def test_an_encoder_is_ranked_at_its_own_cut_and_controls_are_not(study):
    kept = own_cuts(study[0])
    assert set(kept["cut"]) == {"fc2"}
    assert set(kept["source"]) == {""}


def test_pairs_are_compared_on_every_task_and_corrected(study):
    table = compare_methods(*study, n_draws=500)
    assert len(table) == 9
    named = table.set_index(["task", "name_a", "name_b"])
    row = named.loc["x", "Random init", "DECAR-v2"]
    assert row["difference"] == pytest.approx(-0.3)
    assert row["outcome_holm"] == "worse"
    assert (table["p_holm"] >= table["p_value"]).all()
    assert named.loc["z", "DECAR-v2", "SLICER"]["outcome_holm"] == "not distinguishable"


def test_holm_is_statsmodels_rule_by_hand():
    assert holm([0.001, 0.02, 0.03, 0.5]).tolist() == pytest.approx([0.004, 0.06, 0.06, 0.5])
    assert holm([0.4, 0.9]).tolist() == pytest.approx([0.8, 0.9])
    assert np.isnan(holm([np.nan, 0.01])[0])
    assert holm([np.nan, 0.01])[1] == 0.01


def test_the_critical_difference_is_demsars_example():
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.01)  # his section 3.2.2


def test_a_large_difference_of_ranks_is_one_that_friedman_sees():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(12, 3)) + np.array([0, 0, 3])
    ranks = (-scores).argsort(1).argsort(1).mean(0)
    assert ranks.max() - ranks.min() > critical_difference(3, 12)
    assert friedmanchisquare(*scores.T).pvalue < 0.05


def test_the_figure_names_everybody(study):
    figure = average_ranks(rank_encoders(study[0]))
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["DECAR-v2 teacher  (80.0)", "SLICER  (74.0)", "Random init  (56.7)"]
    with pytest.raises(ValueError, match="at least 2"):
        average_ranks(rank_encoders(study[0]).iloc[:1])
