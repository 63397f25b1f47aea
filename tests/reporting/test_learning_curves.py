"""Whatever a method logs is drawn, in an order that does not depend on the method."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from unfused.reporting.figures.learning_curves import learning_curves


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
        *("loss", "instance loss", "embedding std", "effective rank", "similarity with the queue"),
        *("cluster perplexity", "surprise", "learning rate"),
    ]
    assert titles(figure, 1) == [
        *("loss", "cluster perplexity", "prototype perplexity", "learning rate")
    ]


def test_curves_hold_the_logged_values() -> None:
    metrics = history("decar", every=4, loss=1.0, cluster_perplexity=9.0)
    panel = learning_curves(metrics).subfigs[0].axes[1]
    assert len(panel.lines) == 2  # a seed each
    for line in panel.lines:
        assert line.get_xdata().tolist() == [4, 8]
        assert line.get_ydata().tolist() == [9 / 4, 9 / 8]


def test_a_long_name_does_not_run_into_the_next_panel() -> None:
    name = "a_quantity_that_somebody_gave_a_very_long_name"
    figure = learning_curves(history("own", loss=1.0, **{name: 2.0}))
    title = titles(figure, 0)[1]
    assert title.replace("\n", " ") == name.replace("_", " ")
    assert max(len(line) for line in title.split("\n")) <= 30


def curve(metrics: pd.DataFrame, quantity: int = 0) -> tuple[list[float], list[float]]:
    line = learning_curves(metrics).subfigs[0].axes[quantity].lines[0]
    return line.get_xdata().tolist(), line.get_ydata().tolist()


def test_a_last_row_of_few_steps_does_not_jump() -> None:
    rows = {"stage": "decar", "seed": 0, "step": [50, 100, 150, 160], "loss": [4.0, 3.0, 2.0, 8.0]}
    metrics = pd.DataFrame(rows).assign(learning_rate=[4.0, 3.0, 2.0, 1.0])
    steps, losses = curve(metrics)
    assert steps == [50, 100, 160]
    np.testing.assert_allclose(losses, [4.0, 3.0, (50 * 2.0 + 10 * 8.0) / 60])
    assert curve(metrics, 1) == ([50, 100, 150, 160], [4.0, 3.0, 2.0, 1.0])  # it is no mean
    scored = metrics.assign(validation_score=[0.5, 0.6, 0.7, 0.9])
    assert curve(scored, 1) == ([50, 100, 150, 160], [0.5, 0.6, 0.7, 0.9])
    longer = metrics.assign(step=[50, 100, 150, 190])
    assert curve(longer) == ([50, 100, 150, 190], [4.0, 3.0, 2.0, 8.0])
    assert curve(metrics.iloc[-2:]) == ([150, 160], [2.0, 8.0])  # nothing says what is usual
