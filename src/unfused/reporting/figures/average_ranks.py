"""Average ranks of encoders over tasks (Demsar 2006), with groups that cannot be told apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...core.errors import UserError
from ..method_ranking import critical_difference
from .style import GREY, INK, PALETTE, new_figure, styled

_LINE = 0.32  # inches


@styled
def average_ranks(ranking: pd.DataFrame) -> Figure:
    """Draw one line per encoder, the best first, and Nemenyi's critical difference.

    Args:
        ranking: Rows of :func:`~unfused.reporting.method_ranking.rank_encoders`.

    Raises:
        ValueError: There are fewer than two encoders.
    """
    if len(ranking) < 2:
        raise UserError(f"{len(ranking)} encoders have all tasks; ranks need at least 2")
    n_tasks = int(ranking["n_tasks"].iloc[0])
    difference = critical_difference(len(ranking), n_tasks)
    figure = new_figure(7.5, 1.3 + _LINE * len(ranking))
    axes = figure.subplots()
    ranks, places = ranking["average_rank"].to_numpy(), np.arange(len(ranking))
    for place, (_, row) in enumerate(ranking.iterrows()):
        baseline = str(row["encoder"]).startswith(("random_init", "log_mel", "supervised"))
        axes.plot(
            row["average_rank"], place, "o", color=GREY if baseline else PALETTE[0], markersize=7
        )
        axes.text(
            row["average_rank"] + 0.15, place, f"{row['average_rank']:.2f}",
            va="center", fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
        )  # fmt: skip
    best = ranks.min()
    axes.axvspan(best, best + difference, color=PALETTE[0], alpha=0.08, lw=0)
    axes.axvline(best + difference, color=INK, linewidth=0.8, linestyle=":")
    named = zip(ranking["name"], ranking["mean"], strict=True)
    axes.set_yticks(places, [f"{name}  ({100 * mean:.1f})" for name, mean in named])
    axes.invert_yaxis()
    axes.set_xlim(0.8, max(len(ranking), best + difference) + 0.6)
    axes.set_xlabel(
        f"average rank over {n_tasks} tasks (1 is best)\n"
        f"shaded: within the critical difference {difference:.2f} of the best"
    )
    axes.set_title("Average ranks  (mean score in %)")
    return figure
