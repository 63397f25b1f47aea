"""Where a classifier errs: what it takes for what, or how many of each class it recognises."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..names import natural_order, short_label
from .style import GREY, INK, LIGHT, PALETTE, new_figure, styled

_MOST = 30  # classes drawn
_FEW = 5  # predictions of a class below which its row stays pale


@styled()
def confusion_matrix(labels: Sequence[object], predicted: Sequence[object]) -> Figure:
    """Draw how many clips of each class are taken for each other one.

    The colour is the share of the true class; of a class with fewer than 5 predictions, the share
    of 5, so that one clip is no dark square. Of many classes the 30 with most errors are drawn.
    """
    true, said = (pd.Series(column, dtype=object).astype(str) for column in (labels, predicted))
    classes = sorted({*true, *said})
    counts = pd.crosstab(true, said).reindex(index=classes, columns=classes, fill_value=0)
    sizes = counts.sum(axis=1)
    errors = sizes + counts.sum() - 2 * np.diag(counts)
    chosen = sorted(errors.sort_values(ascending=False, kind="stable").index[:_MOST],
                    key=natural_order)  # fmt: skip
    counts = counts.loc[chosen, chosen]
    shares = counts.div(sizes[chosen].clip(lower=_FEW), axis=0).to_numpy()
    side = max(2.2, (0.335 if len(chosen) <= 15 else 0.27) * len(chosen))
    figure = new_figure(side + 1.7, side + 1.6)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(counts.to_numpy()), strict=True):
        colour = "white" if shares[row, column] > 0.5 else INK
        axes.text(column, row, f"{counts.iloc[row, column]}", ha="center", va="center",
                  fontsize=9 if len(chosen) <= 15 else 7.5, color=colour)  # fmt: skip
    names = [short_label(name) for name in chosen]
    axes.set_xticks(range(len(chosen)), names, rotation=90)
    rows = [f"{name} ({sizes[one]})" for name, one in zip(names, chosen, strict=True)]
    axes.set_yticks(range(len(chosen)), rows)
    axes.set(xlabel="answer", ylabel="true class (predictions)")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    if len(chosen) < len(classes):
        axes.set_title(f"the {len(chosen)} of {len(classes)} classes with most errors")
    return figure


@styled()
def recognised(classes: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw which share of each class's clips is recognised; for clips with several labels.

    Classes have ``label, recall, n_test``, weakest first; the 30 weakest are drawn.
    """
    shown = list(classes)[:_MOST]
    figure = new_figure(5.5, 0.25 * len(shown) + 0.8)
    axes = figure.subplots()
    places = range(len(shown))
    axes.barh(places, [100] * len(shown), color=LIGHT, height=0.7)
    axes.barh(places, [100 * row["recall"] for row in shown], color=PALETTE[0], height=0.7)
    axes.set_yticks(places, [f"{short_label(row['label'])} ({row['n_test']})" for row in shown])
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel="% of the class's clips recognised (number of clips)")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=GREY, alpha=0.3, linewidth=0.5)
    if len(shown) < len(classes):
        axes.set_title(f"the {len(shown)} weakest of {len(classes)} classes")
    return figure
