"""Label efficiency: curves, and the labels that a method saves."""

import pandas as pd
import pytest

from unfused.reporting.figures import label_efficiency
from unfused.reporting.label_curves import label_curves, labels_saved


def rows(encoder, values, protocol="linear_probe", source="", seeds=(0,), metric="accuracy"):
    """Return rows for budgets of 1, 4 and 16 labels per class, two draws each."""
    return pd.DataFrame([
        {"task": "toy", "encoder": encoder, "source": source, "cut": "fc2", "protocol": protocol,
         "seed": seed, "fold": 0, "budget": f"{n} per class", "draw": draw, "n_labels": 2 * n,
         "metric": metric, "value": value + 0.1 * draw + 0.01 * seed}
        for n, value in zip((1, 4, 16), values, strict=True)
        for draw in (0, 1) for seed in seeds
    ])  # fmt: skip


SCORES = pd.concat([
    rows("supervised", [0.1, 0.3, 0.5], "fine_tuning"),
    rows("decar", [0.3, 0.5, 0.7]),
    rows("slicer", [0.1, 0.2, 0.3]),
    rows("cola", [0.6, 0.7, 0.8]),
    rows("unfused", [0.9, 0.9, 0.9], source="shuffled"),
    rows("random_init", [0.1, 0.6, 0.6]),
])  # fmt: skip


def test_draws_are_averaged_and_their_range_is_the_interval():
    curves = label_curves(SCORES, teacher="decar")
    first = curves[(curves["encoder"] == "decar")].iloc[0]
    assert (first["n_labels"], first["n_draws"], first["n_seeds"]) == (2, 2, 1)
    assert first[["mean", "low", "high"]].tolist() == pytest.approx([0.35, 0.3, 0.4])
    assert first["interval"] == "range of 2 draws"
    assert first["name"] == "DECAR-v2 teacher"
    assert not (curves["source"] == "shuffled").any()


def test_three_seeds_give_an_interval_over_seeds():
    curves = label_curves(rows("decar", [0.3, 0.5, 0.7], seeds=(0, 1, 2)))
    assert curves["interval"].unique().tolist() == ["t over 3 seeds"]
    assert (curves["low"] < curves["mean"]).all()


def test_labels_saved_interpolates_in_the_logarithm():
    saved = labels_saved(label_curves(SCORES)).set_index("name")
    assert saved["reference_labels"].unique().tolist() == [32]
    assert saved.loc["DECAR-v2", "needed_labels"] == pytest.approx(8)  # scores 0.55 at 4 per class
    assert saved.loc["DECAR-v2", "share"] == pytest.approx(0.25)
    assert saved.loc["COLA", "needed_labels"] == 2  # there from its first budget on
    assert pd.isna(saved.loc["SLICER", "needed_labels"])
    assert "Random init" not in saved.index


def test_a_method_is_compared_with_its_own_architecture():
    own = rows("supervised_slicer", [0.1, 0.1, 0.1], "fine_tuning")
    saved = labels_saved(label_curves(pd.concat([SCORES, own]))).set_index("name")
    assert saved.loc["SLICER", "reference"] == "Supervised from scratch (SLICER)"
    assert saved.loc["SLICER", "needed_labels"] == 2


def test_without_training_from_scratch_a_random_encoder_is_the_reference():
    frozen = SCORES[SCORES["encoder"] != "supervised"]
    saved = labels_saved(label_curves(frozen)).set_index("name")
    assert saved["reference"].unique().tolist() == ["Random init"]
    assert saved.loc["DECAR-v2", "needed_labels"] == pytest.approx(16)  # .65, half way from 8 to 32
    own = rows("random_init_slicer", [0.1, 0.1, 0.2])
    saved = labels_saved(label_curves(pd.concat([frozen, own]))).set_index("name")
    assert saved.loc["SLICER", "needed_labels"] == pytest.approx(8)  # .25, at 4 per class
    other_cut = frozen[frozen["encoder"] != "random_init"]
    nothing = labels_saved(label_curves(other_cut))
    assert nothing.empty
    assert "needed_labels" in nothing  # a table without rows still has its header


def test_the_figure_has_a_panel_per_task_and_needs_rows():
    other = SCORES.assign(task="other", metric="mAP")
    figure = label_efficiency(label_curves(pd.concat([SCORES, other])))
    titles = [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes]
    assert titles == ["other", "toy"]
    assert figure.axes[0].get_ylabel() == "mAP, %"
    with pytest.raises(ValueError, match=r"label_efficiency\.budgets"):
        label_efficiency(pd.DataFrame())
