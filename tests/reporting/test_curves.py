"""Whatever a method logs is drawn; label efficiency in numbers and as a figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from unfused.reporting.figures.curves import label_efficiency, learning_curves
from unfused.reporting.summary import label_curves


def history(stage: str, every: int = 1, **metrics: float) -> pd.DataFrame:
    """Two seeds; the last metric is logged only at every so many rows (DECAR's clusters)."""
    steps = np.arange(1, 9)
    rows = pd.DataFrame({"stage": stage, "seed": np.repeat([0, 1], 8), "step": np.tile(steps, 2)})
    rows = rows.assign(clips=rows["step"] * 16, clips_per_second=100.0, learning_rate=1e-3)
    rows = rows.assign(**{name: value / rows["step"] for name, value in metrics.items()})
    rows.loc[rows["step"] % every > 0, list(metrics)[-1]] = np.nan
    return rows


def titles(figure: Figure, stage: int) -> list[str]:
    return [axes.get_title("left") or axes.get_title() for axes in figure.subfigs[stage].axes
            if axes.axison]  # fmt: skip


def test_every_quantity_has_a_panel_and_bookkeeping_has_none() -> None:
    slicer = history(
        "slicer", queue_similarity=0.5, surprise=1.0, loss=3.0, instance_loss=2.0,
        effective_rank=9.0, std=1.0, cluster_perplexity=7.0,
    )  # fmt: skip
    decar = history("decar", every=4, loss=1.0, prototype_perplexity=5.0, cluster_perplexity=9.0)
    figure = learning_curves(pd.concat([slicer, decar], ignore_index=True))
    assert titles(figure, 0) == [
        *("loss", "instance loss", "embedding std", "effective rank", "queue similarity"),
        *("cluster perplexity", "surprise", "learning rate"),
    ]
    assert sorted(titles(figure, 1)) == [
        *("cluster perplexity", "learning rate", "loss", "prototype perplexity")
    ]


def test_curves_hold_the_logged_values_a_line_per_seed() -> None:
    metrics = history("decar", every=4, loss=1.0, cluster_perplexity=9.0)
    panel = learning_curves(metrics).subfigs[0].axes[1]
    assert len(panel.lines) == 2
    for line in panel.lines:
        assert line.get_xdata().tolist() == [4, 8]
        assert line.get_ydata().tolist() == [9 / 4, 9 / 8]


def test_a_long_name_does_not_run_into_the_next_panel() -> None:
    name = "a_quantity_that_somebody_gave_a_very_long_name"
    title = titles(learning_curves(history("own", loss=1.0, **{name: 2.0})), 0)[1]
    assert title.replace("\n", " ") == name.replace("_", " ")
    assert max(len(line) for line in title.split("\n")) <= 28


def test_learning_curves_refuse_what_they_cannot_draw() -> None:
    metrics = history("decar", loss=1.0)
    with pytest.raises(ValueError, match="no numeric column"):
        learning_curves(metrics[["stage", "seed", "step"]])


def rows(encoder, values, protocol="linear_probe", source="", seeds=(0,), **more):
    """Return rows for budgets of 1, 4 and 16 labels per class, two draws each."""
    return pd.DataFrame([
        {"task": "toy", "encoder": encoder, "source": source, "read_out": "fc2",
         "protocol": protocol, "seed": seed, "fold": 0, "budget": f"{n} per class", "draw": draw,
         "n_labels": 2 * n, "metric": "accuracy", "value": value + 0.1 * draw + 0.01 * seed,
         "validation": np.nan, "validation_error": np.nan, "parameters": 0,
         "chosen_on": "folds", **more}
        for n, value in zip((1, 4, 16), values, strict=True)
        for draw in (0, 1) for seed in seeds
    ])  # fmt: skip


SCORES = pd.concat([
    rows("supervised", [0.1, 0.3, 0.5], "fine_tuning"),
    rows("decar", [0.3, 0.5, 0.7]),
    rows("decar", [0.4, 0.5, 0.6], read_out="block3"),
    rows("unfused", [0.9, 0.9, 0.9], source="shuffled"),
    rows("random_init", [0.1, 0.6, 0.6]),
])  # fmt: skip


def test_draws_are_averaged_and_their_range_is_the_interval():
    curves = label_curves(SCORES, teacher="decar")
    first = curves[(curves["encoder"] == "decar") & (curves["read_out"] == "fc2")].iloc[0]
    assert (first["n_labels"], first["n_draws"], first["n_seeds"]) == (2, 2, 1)
    assert first[["mean", "low", "high"]].tolist() == pytest.approx([0.35, 0.3, 0.4])
    assert first["interval"] == "range of 2 draws"
    assert first["name"] == "DECAR-v2 teacher"
    assert not (curves["source"] == "shuffled").any()


def test_what_a_user_gets_is_what_each_draws_own_folds_choose():
    def probed(encoder, values, validation, parameters, **more):
        known = {"validation": validation, "validation_error": 0.1, "parameters": parameters}
        return rows(encoder, values, **known, **more)

    small, large = probed("small", [0.1, 0.2, 0.3], 0.5, 10), probed("large", [0.9] * 3, 0.55, 20)
    best = probed("best", [0.4, 0.5, 0.6], 0.9, 30)
    voted = probed("voted", [0.8] * 3, 1.0, 0, protocol="knn")  # cannot be used on new audio
    later = probed("later", [0.8] * 3, 1.0, 0, seeds=(1,))  # nothing to choose among
    curves = label_curves(pd.concat([small, large, best, voted, later, SCORES]))
    chosen = curves[curves["encoder"] == "chosen"].set_index("budget")["mean"]
    assert chosen.to_dict() == pytest.approx(
        {"1 per class": 0.45, "4 per class": 0.55, "16 per class": 0.65}
    )
    curves = label_curves(pd.concat([small, large, probed("third", [0.4] * 3, 0.2, 1)]))
    chosen = curves.loc[curves["encoder"] == "chosen", "mean"]
    assert chosen.tolist() == pytest.approx([0.95, 0.95, 0.95])  # by folds size decides nothing
    worse = probed("large", [0.0] * 3, 0.4, 20, seeds=(1,))
    curves = label_curves(
        pd.concat([small, large, worse, probed("small", [0.5] * 3, 0.5, 10, seeds=(1,))])
    )
    chosen = curves[curves["encoder"] == "chosen"]
    assert chosen["mean"].tolist() == pytest.approx([0.755] * 3)  # every seed's draws count
    assert chosen["n_seeds"].tolist() == [2, 2, 2]
    assert not (label_curves(SCORES)["encoder"] == "chosen").any()


def test_three_seeds_give_an_interval_over_seeds():
    curves = label_curves(rows("decar", [0.3, 0.5, 0.7], seeds=(0, 1, 2)))
    assert curves["interval"].unique().tolist() == ["t interval over 3 seeds"]
    assert (curves["low"] < curves["mean"]).all()


def test_the_figure_has_a_panel_per_task_and_the_best_read_out():
    other = SCORES.assign(task="other", metric="mAP")
    figure = label_efficiency(label_curves(pd.concat([SCORES, other])))
    names = [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes]
    assert names == ["other", "toy"]
    assert figure.axes[0].get_ylabel() == "mAP, %"
    decar = next(line for line in figure.axes[1].lines if line.get_label().startswith("DECAR"))
    assert decar.get_ydata().tolist() == pytest.approx([35, 55, 75])
    with pytest.raises(ValueError, match="no row: measure scores with few labels"):
        label_efficiency(pd.DataFrame())
