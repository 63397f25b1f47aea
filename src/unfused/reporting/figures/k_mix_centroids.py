"""The centroids of k-mix as an image."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from ...views.k_mix_centroids import centroids_of
from .style import new_figure, styled


@styled
def k_mix_centroids(table: pd.DataFrame, *, title: str = "Centroids of k-mix") -> Figure:
    """Draw the first fold's centroids as columns, the quietest on the left.

    Args:
        table: Columns fold, cluster, n_clips and one for each band.
        title: Heading.
    """
    first = table["fold"].min()
    of_fold = table[table["fold"] == first].sort_values("cluster")
    centroids = centroids_of(table, first)
    order = centroids.mean(1).argsort()
    figure = new_figure(8, 4.6)
    bars, panel = figure.subplots(2, 1, sharex=True, height_ratios=[1, 3])
    bars.bar(range(len(order)), of_fold["n_clips"].to_numpy()[order], width=1.0)
    bars.set(ylabel="clips")
    image = panel.imshow(
        centroids[order].T, origin="lower", aspect="auto", cmap="magma", interpolation="nearest"
    )
    panel.set(xlabel="cluster, by loudness", ylabel="mel band")
    figure.colorbar(image, ax=[bars, panel], pad=0.01, fraction=0.03, label="mean log-mel in nats")
    folds = table["fold"].nunique()
    which = f", fold {first} of {folds}" if folds > 1 else ""
    figure.suptitle(f"{title}: {len(order)} clusters{which}", x=0.01, ha="left")
    return figure
