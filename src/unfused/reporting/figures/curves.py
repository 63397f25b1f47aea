"""Learning curves, and score against the number of labels."""

from collections.abc import Mapping
from textwrap import fill

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ...core.errors import UserError
from ..names import baseline_of, counted, encoder_rank, metric_name, protocol_name
from .style import GREY, MARKERS, PALETTE, new_figure, panels, styled

_COLUMNS = 3
_NOT_CURVES = {
    *("stage", "seed", "fold", "step", "epoch", "task", "encoder", "source", "run"),
    *("clips", "clip_updates", "clips_per_second", "seconds", "time"),
}
_FIRST = ("loss", "std", "effective_rank", "queue_similarity", "perplexity")
"""Ends of names: losses, then what shows a collapse, in this order, whatever the method."""
_LAST = ("learning_rate", "lr")
_TITLE_WIDTH = 28  # characters; a longer title would run into the next panel's
_CLASSIFIER = ["task", "encoder", "source", "protocol"]


@styled()
def learning_curves(metrics: pd.DataFrame) -> Figure:
    """Draw every logged quantity of every stage over the steps, one thin line per seed and fold.

    Metrics are logged rows with ``stage, seed, step``, perhaps ``fold``, and one numeric column for
    each quantity (NaN where a stage does not have it).

    Raises:
        UserError: There is nothing to draw.
    """
    stages = {str(name): part for name, part in metrics.groupby("stage", sort=False)}
    names = {name: found for name, part in stages.items() if (found := _quantities(part))}
    if not names:
        raise UserError("metrics hold no numeric column to draw; log at least the loss")
    heights = [0.35 + 1.55 * -(-len(found) // _COLUMNS) for found in names.values()]
    figure = new_figure(6.2, 0.4 + sum(heights))
    seeds = sorted(metrics["seed"].dropna().unique())
    colours = {seed: PALETTE[number % len(PALETTE)] for number, seed in enumerate(seeds)}
    blocks = figure.subfigures(len(names), 1, height_ratios=heights, squeeze=False).ravel()
    for block, (name, quantities) in zip(blocks, names.items(), strict=True):
        block.suptitle(name, x=0.01, ha="left", fontsize=11)
        axes = panels(block, len(quantities), _COLUMNS)
        for panel, quantity in zip(axes, quantities, strict=True):
            _draw_quantity(panel, stages[name], quantity, colours)
        for panel in axes[-_COLUMNS:]:
            panel.set_xlabel("step")
    if len(colours) <= len(PALETTE):
        handles = [Line2D([], [], color=colour) for colour in colours.values()]
        labels = [f"seed {seed}" for seed in colours]
        figure.legend(handles, labels, loc="outside lower left", ncols=5)
    return figure


def _quantities(part: pd.DataFrame) -> list[str]:
    numeric = [str(column) for column in part.select_dtypes("number").columns]
    found = [name for name in numeric if name not in _NOT_CURVES and part[name].notna().any()]

    def rank(name: str) -> float:
        ends = [number for number, end in enumerate(_FIRST) if name.endswith(end)]
        return -1 if name == "loss" else 99 if name in _LAST else min(ends, default=50)

    return sorted(found, key=rank)


def _draw_quantity(
    panel: Axes, part: pd.DataFrame, name: str, colours: Mapping[object, str]
) -> None:
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
    panel.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k" if x >= 1000 else f"{x:g}")
    panel.yaxis.set_major_locator(MaxNLocator(4))
    panel.grid(alpha=0.3, linewidth=0.5)


@styled()
def label_efficiency(curves: pd.DataFrame) -> Figure:
    """Draw one line per encoder and protocol, with its band, over the number of labels.

    An encoder with several read-outs is drawn with the one that is best with most labels. Dashed:
    trained end to end; grey: baselines. Rows are
    :func:`~unfused.reporting.summary.label_curves`'s.

    Raises:
        UserError: There is no row.
    """
    if curves.empty:
        raise UserError("curves has no row: measure scores with few labels first")
    curves = _best_read_outs(curves)
    rank = [encoder_rank(*pair) for pair in zip(curves["encoder"], curves["source"], strict=True)]
    ordered = curves.assign(rank=rank).sort_values("rank", kind="stable")
    lines = dict.fromkeys(zip(ordered["name"], ordered["protocol"], strict=True), GREY)
    trained = ordered[ordered["encoder"].map(baseline_of).isna()]
    names = dict.fromkeys(zip(trained["name"], trained["protocol"], strict=True))
    lines |= {name: PALETTE[number % len(PALETTE)] for number, name in enumerate(names)}
    tasks = list(dict.fromkeys(curves["task"]))
    columns = min(2, len(tasks))
    height = 2.7 * -(-len(tasks) // columns) + 0.4 + 0.22 * len(lines)
    figure = new_figure(1.5 + 2.9 * columns, height)
    handles: dict[object, Artist] = {}
    for panel, task in zip(panels(figure, len(tasks), columns), tasks, strict=True):
        _draw_task(panel, curves[curves["task"] == task], lines)
        panel.set_title(task)
        handles |= {handle.get_label(): handle for handle in panel.get_legend_handles_labels()[0]}
    figure.legend(handles=list(handles.values()), loc="outside lower left", ncols=1)
    seeds, draws = counted(curves["n_seeds"], "seed"), counted(curves["n_draws"], "draw")
    figure.suptitle(f"{seeds}, {draws} of labels a budget", x=0.01, ha="left")
    return figure


def _best_read_outs(curves: pd.DataFrame) -> pd.DataFrame:
    """Return each classifier's rows with the read-out that is best at its largest budget."""
    most = curves.groupby([*_CLASSIFIER, "read_out"])["n_labels"].transform("max")
    last = curves[curves["n_labels"] == most]
    best = last.loc[last.groupby(_CLASSIFIER)["mean"].idxmax(), [*_CLASSIFIER, "read_out"]]
    return curves.merge(best, on=[*_CLASSIFIER, "read_out"])


def _draw_task(panel: Axes, curves: pd.DataFrame, lines: Mapping[tuple[str, str], str]) -> None:
    for number, ((name, protocol), colour) in enumerate(lines.items()):
        line = curves[(curves["name"] == name) & (curves["protocol"] == protocol)]
        line = line.sort_values("n_labels")
        if line.empty:
            continue
        x, low, high = line["n_labels"], 100 * line["low"], 100 * line["high"]
        panel.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
        panel.plot(
            x, 100 * line["mean"], color=colour, marker=MARKERS[number % len(MARKERS)],
            markersize=4, linestyle="--" if protocol == "fine_tuning" else "-",
            label=f"{name}, {protocol_name(protocol).lower()}",
        )  # fmt: skip
    panel.set_xscale("log")
    ticks: list[float] = []
    for labels in sorted(curves["n_labels"].unique()):  # none too near the one before
        ticks += [labels] if not ticks or labels > 1.3 * ticks[-1] else []
    panel.set_xticks(ticks)
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    panel.xaxis.set_minor_formatter(lambda value, _: "")
    panel.set_xlabel("labels to learn from")
    panel.set_ylabel(f"{metric_name(curves['metric'].iloc[0])}, %")
