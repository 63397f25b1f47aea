"""Learning curves as small multiples: one block per stage, one panel per quantity."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ...core.errors import UserError
from .style import PALETTE, new_figure, styled

_COLUMNS = 3
_NOT_CURVES = {
    *("stage", "seed", "fold", "step", "epoch", "task", "encoder", "source", "run"),
    *("clips", "clip_updates", "clips_per_second", "seconds", "time"),
}
_FIRST = ("loss", "std", "effective_rank", "queue_similarity", "perplexity")
"""Ends of names: losses, then what shows a collapse, in this order, whatever the method."""
_LAST = ("learning_rate", "lr")
_TITLE_WIDTH = 28  # characters; a longer title would run into the next panel's


@styled
def learning_curves(metrics: pd.DataFrame) -> Figure:
    """Draw every logged quantity of every stage over the steps, one thin line per seed and fold.

    Args:
        metrics: Logged rows with ``stage, seed, step``, perhaps ``fold``, and one numeric column
            for each quantity (NaN where a stage does not have it).

    Raises:
        UserError: A column is missing, or there is nothing to draw.
    """
    if missing := [column for column in ("stage", "seed", "step") if column not in metrics]:
        raise UserError(f"metrics lack the columns {missing}; they have {list(metrics.columns)}")
    stages = {str(name): part for name, part in metrics.groupby("stage", sort=False)}
    stages = {name: part for name, part in stages.items() if _quantities(part)}
    if not stages:
        raise UserError("metrics hold no numeric column to draw; log at least the loss")
    rows = [-(-len(_quantities(part)) // _COLUMNS) for part in stages.values()]
    heights = [0.35 + 1.55 * number for number in rows]
    figure = new_figure(6.2, 0.4 + sum(heights))
    seeds = sorted(metrics["seed"].dropna().unique())
    colours = {seed: PALETTE[number % len(PALETTE)] for number, seed in enumerate(seeds)}
    blocks = figure.subfigures(len(stages), 1, height_ratios=heights, squeeze=False).ravel()
    for block, (name, part), number in zip(blocks, stages.items(), rows, strict=True):
        block.suptitle(name, x=0.01, ha="left", fontsize=11)
        names = _quantities(part)
        panels = block.subplots(number, _COLUMNS, squeeze=False).ravel()
        for panel, quantity in zip(panels, names, strict=False):
            _draw(panel, part, quantity, colours)
        for panel in panels[len(names) :]:
            panel.axis("off")
        for panel in panels[max(0, len(names) - _COLUMNS) : len(names)]:
            panel.set_xlabel("step")
    if len(colours) <= len(PALETTE):
        handles = [Line2D([], [], color=colour) for colour in colours.values()]
        names = [f"seed {seed}" for seed in colours]
        figure.legend(handles, names, loc="outside lower left", ncols=5)
    return figure


def _quantities(part: pd.DataFrame) -> list[str]:
    numeric = [str(column) for column in part.select_dtypes("number").columns]
    found = [name for name in numeric if name not in _NOT_CURVES and part[name].notna().any()]

    def rank(name: str) -> float:
        ends = [number for number, end in enumerate(_FIRST) if name.endswith(end)]
        return -1 if name == "loss" else 99 if name in _LAST else min(ends, default=50)

    return sorted(found, key=rank)


def _draw(panel: Axes, part: pd.DataFrame, name: str, colours: Mapping[object, str]) -> None:
    runs = [column for column in ("seed", "fold") if column in part]
    for key, run in part.dropna(subset=[name]).groupby(runs, sort=True, dropna=False):
        curve = run.sort_values("step")
        panel.plot(
            curve["step"], curve[name], color=colours[key[0]], linewidth=1, alpha=0.85,
            marker="o" if len(run) < 3 else None, markersize=3,
        )  # fmt: skip
    title = {"std": "embedding std", "lr": "learning rate"}.get(name, name.replace("_", " "))
    panel.set_title(fill(title, _TITLE_WIDTH), fontsize=10, fontweight="normal")
    panel.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    panel.xaxis.set_major_formatter(
        FuncFormatter(lambda step, _: f"{step / 1000:g}k" if step >= 1000 else f"{step:g}")
    )
    panel.yaxis.set_major_locator(MaxNLocator(4))
    panel.grid(alpha=0.3, linewidth=0.5)
