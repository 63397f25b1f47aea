"""Score against the number of labels, one panel per task."""

from __future__ import annotations

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ...core.errors import UserError
from ..names import baseline_of, counted, encoder_rank, metric_name, protocol_name
from .style import GREY, MARKERS, PALETTE, new_figure, styled

_CLASSIFIER = ["task", "encoder", "source", "protocol"]


@styled
def label_efficiency(curves: pd.DataFrame) -> Figure:
    """Draw one line per encoder and protocol, with its band, over the number of labels.

    An encoder with several read-outs is drawn with the one that is best with most labels. Dashed:
    trained end to end; grey: baselines.

    Args:
        curves: Rows of :func:`~unfused.reporting.label_curves.label_curves`.

    Raises:
        UserError: There is no row.
    """
    if curves.empty:
        raise UserError("no label budget was measured: set evaluation.label_efficiency.budgets")
    curves = _best_read_outs(curves)
    rank = [encoder_rank(*pair) for pair in zip(curves["encoder"], curves["source"], strict=True)]
    ordered = curves.assign(rank=rank).sort_values("rank", kind="stable")
    lines = list(dict.fromkeys(zip(ordered["name"], ordered["protocol"], strict=True)))
    trained = ordered[ordered["encoder"].map(baseline_of).isna()]
    names = list(dict.fromkeys(zip(trained["name"], trained["protocol"], strict=True)))
    colours = {name: PALETTE[number % len(PALETTE)] for number, name in enumerate(names)}
    tasks = list(dict.fromkeys(curves["task"]))
    columns = min(2, len(tasks))
    rows = -(-len(tasks) // columns)
    figure = new_figure(1.5 + 2.9 * columns, 2.7 * rows + 0.4 + 0.22 * len(lines))
    axes = figure.subplots(rows, columns, squeeze=False)
    for panel, task in zip(axes.flat, tasks, strict=False):
        _draw_task(panel, curves[curves["task"] == task], lines, colours)
        panel.set_title(task)
    for panel in axes.flat[len(tasks) :]:
        panel.axis("off")
    handles: dict[str, Artist] = {}
    for panel in axes.flat:
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


def _draw_task(
    panel: Axes,
    curves: pd.DataFrame,
    lines: list[tuple[str, str]],
    colours: dict[tuple[str, str], str],
) -> None:
    for number, (name, protocol) in enumerate(lines):
        line = curves[(curves["name"] == name) & (curves["protocol"] == protocol)]
        line = line.sort_values("n_labels")
        if line.empty:
            continue
        colour = colours.get((name, protocol), GREY)
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
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    panel.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
    panel.set_xlabel("labels to learn from")
    panel.set_ylabel(f"{metric_name(curves['metric'].iloc[0])}, %")
