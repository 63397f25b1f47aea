"""Score against the number of labels, one panel per task."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ...core.errors import UserError
from ..naming import BASELINES, encoder_rank, metric_name, protocol_name
from .style import GREY, MARKERS, PALETTE, counted, new_figure, styled

_LINE = ["encoder", "source", "cut", "protocol"]


@styled
def label_efficiency(curves: pd.DataFrame) -> Figure:
    """Draw one line per encoder and protocol, with its band, over the number of labels.

    An encoder probed at several cuts is drawn at the one that is best with most labels. Dashed:
    trained end to end.

    Args:
        curves: Rows of :func:`~unfused.reporting.label_curves.label_curves`.

    Raises:
        ValueError: There is no row.
    """
    if curves.empty:
        raise UserError("no label budget was measured: set evaluation.label_efficiency.budgets")
    curves = curves[_best_cuts(curves)]
    tasks = list(dict.fromkeys(curves["task"]))
    lines = _lines(curves)
    columns = min(3, len(tasks))
    rows = -(-len(tasks) // columns)
    named = [line for line in lines if not _is_baseline(line[0], curves)]
    colours = {line: PALETTE[number % len(PALETTE)] for number, line in enumerate(named)}
    figure = new_figure(4.2 * columns + 2.6, 3.4 * rows + 0.4)
    axes = figure.subplots(rows, columns, squeeze=False)
    for panel, task in zip(axes.ravel(), tasks, strict=False):
        _draw_task(panel, curves[curves["task"] == task], lines, colours)
        panel.set_title(task)
    for panel in axes.ravel()[len(tasks) :]:
        panel.axis("off")
    handles, labels = axes.ravel()[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False)
    seeds, draws = counted(curves["n_seeds"], "seed"), counted(curves["n_draws"], "draw")
    figure.suptitle(f"Label efficiency: {seeds}, {draws} of labels a budget", x=0.01, ha="left")
    return figure


def _lines(curves: pd.DataFrame) -> list[tuple[str, str]]:
    """Return name and protocol of each line, in the order of the tables."""
    rank = [encoder_rank(*pair) for pair in zip(curves["encoder"], curves["source"], strict=True)]
    ordered = curves.iloc[sorted(range(len(curves)), key=lambda row: rank[row])]
    return list(dict.fromkeys(ordered[["name", "protocol"]].itertuples(index=False, name=None)))


def _is_baseline(name: str, curves: pd.DataFrame) -> bool:
    encoder = str(curves.loc[curves["name"] == name, "encoder"].iloc[0])
    return encoder.startswith(BASELINES)


def _best_cuts(curves: pd.DataFrame) -> pd.Series:
    last = curves.loc[curves.groupby(["task", *_LINE])["n_labels"].idxmax()]
    best = last.loc[last.groupby(["task", "encoder", "source", "protocol"])["mean"].idxmax()]
    keys = pd.MultiIndex.from_frame(best[["task", *_LINE]])
    chosen = pd.MultiIndex.from_frame(curves[["task", *_LINE]]).isin(keys)
    return pd.Series(chosen, index=curves.index)


def _draw_task(
    panel: Axes,
    curves: pd.DataFrame,
    lines: list[tuple[str, str]],
    colours: dict[tuple[str, str], str],
) -> None:
    for number, (name, protocol) in enumerate(lines):
        line = curves[(curves["name"] == name) & (curves["protocol"] == protocol)]
        if line.empty:
            continue
        colour = colours.get((name, protocol), GREY)
        x, mean = line["n_labels"], 100 * line["mean"]
        panel.fill_between(x, 100 * line["low"], 100 * line["high"], color=colour, alpha=0.15, lw=0)
        panel.plot(
            x, mean, color=colour, marker=MARKERS[number % len(MARKERS)], markersize=4,
            linestyle="--" if protocol == "fine_tuning" else "-",
            label=f"{name}, {protocol_name(protocol).lower()}",
        )  # fmt: skip
    panel.set_xscale("log")
    panel.set_xticks(_ticks(curves["n_labels"]))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    panel.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
    panel.set_xlabel("labels to learn from")
    panel.set_ylabel(f"{metric_name(curves['metric'].iloc[0])}, %")


def _ticks(n_labels: pd.Series) -> list[float]:
    """Return the numbers of labels, those left out that lie too near the one before."""
    ticks: list[float] = []
    for number in sorted(n_labels.unique()):
        if not ticks or number > 1.3 * ticks[-1]:
            ticks.append(float(number))
    return ticks
