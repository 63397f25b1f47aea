"""Confusion matrix of test predictions: shares of each true class as colour, clips as numbers."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...scores.metrics import confusion
from ..naming import natural_order, short_label
from .style import FAINT, INK, new_figure, styled

_MOST = 45  # classes drawn at most


@styled
def confusion_matrix(
    labels: Sequence[object], predicted: Sequence[object], *, title: str = "Confusion matrix"
) -> Figure:
    """Draw how often each class is taken for each other one.

    With more than 45 classes, only the 45 with most errors are drawn, and the title says so; the
    other predictions still count in the rows' shares.

    Args:
        labels: True label of each prediction, (N,).
        predicted: Predicted label, (N,).
        title: Heading: encoder, protocol and task.
    """
    counts = confusion(pd.Series(labels).astype(str), pd.Series(predicted).astype(str))
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    n_classes, n_clips = len(counts), int(counts.to_numpy().sum())
    shown = _order(counts)
    counts, shares = counts.loc[shown, shown], shares.loc[shown, shown]
    cell = 0.62 if len(shown) <= 12 else 0.42 if len(shown) <= 22 else 0.31
    side = max(3.2, cell * len(shown))
    figure = new_figure(side + 2.6, side + 2.2)
    axes = figure.subplots()
    image = axes.imshow(shares.to_numpy(), cmap="Blues", vmin=0, vmax=1, aspect="equal")
    _write_cells(axes, counts.to_numpy(), shares.to_numpy())
    names = [short_label(name) for name in shown]
    small = 10 if len(shown) <= 22 else 8
    axes.set_xticks(range(len(shown)), names, rotation=90, fontsize=small)
    axes.set_yticks(range(len(shown)), names, fontsize=small)
    axes.set(xlabel="predicted", ylabel="true")
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02, label="share of the true class")
    part = (
        f", the {len(shown)} of {n_classes} classes with most errors"
        if len(shown) < n_classes
        else ""
    )
    heading = textwrap.fill(title, int(10 * (side + 2.6)))
    figure.suptitle(f"{heading}\n{n_clips:,} predictions{part}", x=0.01, ha="left", fontsize=11)
    return figure


def _order(counts: pd.DataFrame) -> list[str]:
    table = counts.to_numpy()
    errors = table.sum(0) + table.sum(1) - 2 * table.diagonal()
    worst = np.argsort(-errors, kind="stable")[:_MOST]
    return sorted((str(counts.index[row]) for row in worst), key=natural_order)


def _write_cells(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    roomy = len(counts) <= 12
    size = 9 if roomy else 8 if len(counts) <= 22 else 7
    for row, column in zip(*np.nonzero(counts), strict=True):
        share, count = shares[row, column], counts[row, column]
        text = f"{100 * share:.0f}%\n{count:,}" if roomy else f"{count}"
        colour = "white" if share > 0.5 else INK if share >= 0.02 or roomy else FAINT
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=colour)
