"""Scores of all encoders with their intervals, one panel per task."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...core.errors import UserError
from ..aggregate import scored_by
from ..naming import BASELINES, STUDENT, STUDENT_FULL, TEACHER_SOURCES, metric_name, protocol_name
from .style import GREY, INK, LIGHT, PALETTE, counted, new_figure, styled

_BAR = 0.3  # inches


@styled
def score_bars(
    summary: pd.DataFrame, *, metric: str = "accuracy", protocol: str = "linear_probe"
) -> Figure:
    """Draw one bar per encoder and cut, with its 95 % interval and what chance would score.

    Args:
        summary: Rows of :func:`~unfused.reporting.aggregate.summarise`.
        metric: Which metric.
        protocol: Which protocol.

    Raises:
        ValueError: The summary has no such rows.
    """
    chosen = summary[summary["protocol"] == protocol]
    chosen = scored_by(chosen, metric) if len(chosen) else chosen
    if chosen.empty:
        raise UserError(f"no summary row has metric={metric!r} and protocol={protocol!r}")
    tasks = list(dict.fromkeys(chosen["task"]))
    names = _names(chosen)
    columns = min(3, len(tasks))
    rows = -(-len(tasks) // columns)
    figure = new_figure(4.6 + 3.4 * columns, rows * (_BAR * len(names) + 0.9) + 0.5)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for panel, task in zip(axes.ravel(), tasks, strict=False):
        of_task = chosen[chosen["task"] == task]
        _draw_task(panel, of_task, names)
        panel.set_title(f"{task} ({int(of_task['n_test'].max()):,} clips)")
        panel.set_xlabel(f"{_inside(metric_name(of_task['metric'].iloc[0]))}, %")
    for panel in axes.ravel()[len(tasks) :]:
        panel.axis("off")
    heading = (
        f"{metric_name(metric)}, {protocol_name(protocol).lower()}, 95 % intervals, "
        f"{counted(chosen['n_seeds'], 'seed')}"
    )
    figure.suptitle(heading, x=0.01, ha="left")
    return figure


def _inside(name: str) -> str:
    """Return a metric's name inside a sentence: abbreviations stay as they are.

    >>> _inside("Balanced accuracy"), _inside("mAP")
    ('balanced accuracy', 'mAP')
    """
    return name if any(letter.isupper() for letter in name[1:]) else name.lower()


def _names(chosen: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(_name(row) for _, row in chosen.iterrows()))


def _name(row: pd.Series) -> str:
    name = str(row["name"]).replace("Self-distilled on ", "Student on ")
    return f"{name} · {row['cut']}" if row["cut"] else name


def _draw_task(panel: Axes, rows: pd.DataFrame, names: list[str]) -> None:
    for _, row in rows.iterrows():
        place, mean = names.index(_name(row)), 100 * row["mean"]
        panel.barh(place, mean, height=0.72, color=_colour(row), zorder=2)
        bounds = np.array([100 * row["low"], 100 * row["high"]])
        if np.isfinite(bounds).all():
            repeats = np.abs(bounds - mean)[:, None]
            panel.errorbar(mean, place, xerr=repeats, color=INK, capsize=2.5, linewidth=1, zorder=3)
        end = np.nanmax([mean, bounds[1]]) + 1.5
        panel.text(end, place, f"{mean:.1f}", va="center", fontsize=9, zorder=4)
    chance = 100 * rows["chance"].max()
    if np.isfinite(chance):
        panel.axvline(chance, color=INK, linestyle=":", linewidth=1, zorder=1)
        panel.text(chance + 0.8, -0.72, f"chance {chance:.1f}", fontsize=8, va="center")
    top = 100 * np.nanmax([rows["mean"].max(), rows["high"].max()])
    panel.set(xlim=(0, min(112, top + 12)), ylim=(len(names) - 0.4, -1.05))
    panel.set_yticks(range(len(names)), names)
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x", alpha=0.3, linewidth=0.5, zorder=0)


def _colour(row: pd.Series) -> str:
    if row["encoder"] in BASELINES:
        return GREY
    if row["encoder"] not in (STUDENT, STUDENT_FULL):
        return PALETTE[1]
    return PALETTE[0] if row["source"] in TEACHER_SOURCES else LIGHT
