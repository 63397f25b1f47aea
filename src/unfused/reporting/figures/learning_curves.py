"""Learning curves as small multiples: one block per stage, one panel per quantity."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ...core.errors import UserError
from .style import PALETTE, new_figure, styled

_COLUMNS = 4
_NOT_CURVES = {
    *("stage", "seed", "fold", "step", "epoch", "task", "encoder", "source", "run"),
    *("clips", "clip_updates", "clips_per_second", "seconds", "time"),
}
_TITLES = {
    "std": "embedding std",
    "embedding_std": "embedding std",
    "effective_rank": "effective rank",
    "perplexity": "cluster perplexity",
    "queue_similarity": "similarity with the queue",
    "learning_rate": "learning rate",
    "lr": "learning rate",
    "gradient_norm": "gradient norm",
}
_HEALTH = (  # what shows a collapse stands after the losses, in this order, whatever the method
    *("std", "embedding_std", "effective_rank", "queue_similarity"),
    *("cluster_perplexity", "perplexity", "prototype_perplexity"),
)
_NO_MEANS = {"learning_rate", "lr", "validation_score"}
_TITLE_WIDTH = 30  # characters; a longer title would run into the next panel's
_STAGES = {
    "teacher": "Pre-training (teacher)",
    "pretraining": "Pre-training (teacher)",
    "student": "Self-distillation (student)",
    "self_distillation": "Self-distillation (student)",
    "supervised": "Supervised from scratch",
    "fine_tuning": "Fine-tuning",
}


@styled
def learning_curves(metrics: pd.DataFrame, *, title: str = "Learning curves") -> Figure:
    """Draw every logged quantity of every stage over the steps, one thin line per seed and fold.

    Args:
        metrics: Logged rows with ``stage, seed, step``, perhaps ``fold``, and one numeric column
            for each quantity (NaN where a stage does not have it).
        title: Heading.

    Raises:
        ValueError: A column is missing, or there is nothing to draw.
    """
    missing = [column for column in ("stage", "seed", "step") if column not in metrics]
    if missing:
        raise UserError(f"metrics lack the columns {missing}; they have {list(metrics.columns)}")
    stages = {str(name): part for name, part in metrics.groupby("stage", sort=False)}
    stages = {name: part for name, part in stages.items() if _quantities(part)}
    if not stages:
        raise UserError("metrics hold no numeric column to draw; log at least the loss")
    rows = [-(-len(_quantities(part)) // _COLUMNS) for part in stages.values()]
    heights = [0.45 + 1.75 * number for number in rows]
    figure = new_figure(11, 0.8 + sum(heights))
    seeds = sorted(metrics["seed"].dropna().unique())
    colours = {seed: PALETTE[number % len(PALETTE)] for number, seed in enumerate(seeds)}
    blocks = figure.subfigures(len(stages), 1, height_ratios=heights, squeeze=False).ravel()
    for block, (name, part), number in zip(blocks, stages.items(), rows, strict=True):
        block.suptitle(_STAGES.get(name, name), x=0.01, ha="left", fontsize=11)
        _draw_stage(block, part, number, colours)
    figure.suptitle(title, x=0.01, ha="left", fontsize=13)
    _legend(figure, colours)
    return figure


def _quantities(part: pd.DataFrame) -> list[str]:
    numeric = [str(column) for column in part.select_dtypes("number").columns]
    found = [name for name in numeric if name not in _NOT_CURVES and part[name].notna().any()]
    return sorted(found, key=lambda name: (_rank(name), found.index(name)))


def _rank(name: str) -> int:
    if name == "loss":
        return 0
    if "loss" in name:
        return 1
    if name in _HEALTH:
        return 2 + _HEALTH.index(name)
    return 99 if name in ("learning_rate", "lr") else 50


def _draw_stage(
    block: SubFigure, part: pd.DataFrame, n_rows: int, colours: Mapping[object, str]
) -> None:
    panels = block.subplots(n_rows, _COLUMNS, squeeze=False).ravel()
    names = _quantities(part)
    for panel, name in zip(panels, names, strict=False):
        _draw_quantity(panel, part, name, colours)
    for panel in panels[len(names) :]:
        panel.axis("off")
    for panel in panels[max(0, len(names) - _COLUMNS) : len(names)]:
        panel.set_xlabel("step")


def _draw_quantity(
    panel: Axes, part: pd.DataFrame, name: str, colours: Mapping[object, str]
) -> None:
    runs = [column for column in ("seed", "fold") if column in part]
    for key, run in part.dropna(subset=[name]).groupby(runs, sort=True, dropna=False):
        step, value = _whole_windows(run.sort_values("step"), name)
        panel.plot(
            step, value, color=colours[key[0]], linewidth=1, alpha=0.85,
            marker="o" if len(run) < 3 else None, markersize=3,
        )  # fmt: skip
    title = _TITLES.get(name, name.removeprefix("n_").replace("_", " "))
    panel.set_title(fill(title, _TITLE_WIDTH), fontsize=10, fontweight="normal")
    panel.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    panel.xaxis.set_major_formatter(FuncFormatter(_thousands))
    panel.yaxis.set_major_locator(MaxNLocator(4))
    panel.grid(alpha=0.3, linewidth=0.5)


def _whole_windows(run: pd.DataFrame, name: str) -> tuple[pd.Series, pd.Series]:
    """Return steps and values of a curve; a last row of few steps is joined with the one before.

    A row is a mean over the steps since the row before. Training ends where it ends, so the last
    row may be the mean of a step or two, and would jump for that alone. What is not a mean over
    all steps (the learning rate, what is measured once in an epoch) stays as it is.
    """
    step, value = run["step"], run[name]
    windows = step.diff()
    usual = windows.iloc[1:-1].median()  # NaN for fewer than three rows
    every_row = windows.iloc[1:-1].eq(usual).all()
    if name in _NO_MEANS or not every_row or not windows.iloc[-1] < usual / 2:
        return step, value
    share = windows.iloc[-1] / (windows.iloc[-1] + windows.iloc[-2])
    joined = share * value.iloc[-1] + (1 - share) * value.iloc[-2]
    kept = value.drop(index=value.index[-2])
    return step.drop(index=step.index[-2]), kept.where(kept.index != kept.index[-1], joined)


def _thousands(value: float, _: int) -> str:
    return f"{value / 1000:g}k" if abs(value) >= 1000 else f"{value:g}"


def _legend(figure: Figure, colours: Mapping[object, str]) -> None:
    if len(colours) > 10:
        return
    handles = [Line2D([], [], color=colour) for colour in colours.values()]
    figure.legend(handles, [f"seed {seed}" for seed in colours], loc="outside lower left",
                  ncols=len(colours))  # fmt: skip
