"""t-SNE of a task's clips: pseudo-labels beside true labels."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from ...core.seeding import derive_seed, numpy_generator
from ..names import natural_order, short_label
from .style import LIGHT, PALETTE, new_figure, panels, styled

log = logging.getLogger(__name__)
_SLOW = 1000  # clips that take more than a few seconds
_MULTIPLES, _COLUMNS = 12, 4  # small multiples of clusters, and of classes


def tsne_points(
    embeddings: np.ndarray, seed: int, max_points: int = 3000
) -> tuple[np.ndarray, np.ndarray]:
    """Return a two-dimensional t-SNE map of clip embeddings.

    PCA to at most 50 dimensions, then Barnes-Hut t-SNE (van der Maaten 2014) started from the first
    two components; perplexity 30, less for few clips. Embeddings on a line are placed on a line,
    three clips or fewer and clips that are all alike on a circle. They are those of *one* data set,
    (N, D); of more than ``max_points`` the seed draws some.

    Returns:
        Rows of the embeddings that are placed, (n,) int64 ascending, and where, (n, 2) float32.
    """
    rows = np.arange(len(embeddings))
    if len(rows) > max_points:
        rows = np.sort(numpy_generator(seed, "tsne").choice(rows, max_points, replace=False))
    chosen = np.asarray(embeddings[rows], dtype=np.float64)
    if len(rows) < 4 or chosen.std(axis=0).max() < 1e-9:
        angle = 2 * np.pi * np.arange(len(rows)) / len(rows)
        return rows, np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    reduced = PCA(min(50, *chosen.shape), random_state=0).fit_transform(chosen)
    reduced /= reduced[:, 0].std()
    if reduced.shape[1] < 2 or reduced[:, 1].std() < 1e-9:
        return rows, np.pad(reduced[:, :1], ((0, 0), (0, 1))).astype(np.float32)
    perplexity = min(30.0, (len(rows) - 1) / 3)
    if len(rows) >= _SLOW:  # scikit-learn tells no progress
        log.info("placing %d clips by t-SNE", len(rows))
    tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=derive_seed(seed) % 2**32)
    return rows, tsne.fit_transform(reduced)


@styled()
def cluster_map(
    xy: np.ndarray,
    pseudo_labels: Sequence[int] | np.ndarray,
    labels: Sequence[object] | np.ndarray,
    *,
    n_clips: int | None = None,
    ami: float | None = None,
) -> Figure:
    """Draw the same points by pseudo-label and by true label.

    Up to 10 clusters and classes have colours, a cluster that of the class it shares most clips
    with (one cluster per class), so equal pictures mean equal partitions. Of more, the largest have
    a small picture each: no two share a colour.

    Places are (n, 2), labels (n,): None, NaN or "" where unknown. ``n_clips`` is how many there are
    altogether, ``ami`` the adjusted mutual information with the classes, where they are known.
    """
    cluster = pd.Series([str(value) for value in pseudo_labels], dtype=object)
    truth = pd.Series(list(labels), dtype=object)
    truth = truth.where(truth.notna() & (truth != "")).map(str, na_action="ignore").astype(object)
    whole = f" of {n_clips:,}" if (n_clips or 0) > len(truth) else ""
    agreement = "" if ami is None else f", AMI {ami:.2f}"
    heading = f"t-SNE of {len(truth):,}{whole} clips{agreement}"
    if max(cluster.nunique(), truth.nunique()) <= len(PALETTE):
        return _coloured(xy, cluster, truth, heading)
    return _small_multiples(xy, cluster, truth, heading)


def _coloured(xy: np.ndarray, cluster: pd.Series, truth: pd.Series, heading: str) -> Figure:
    classes = sorted(truth.dropna().unique(), key=natural_order)
    colours = dict(zip(classes, PALETTE, strict=False))
    figure = new_figure(6, 4.2)
    left, right = figure.subplots(1, 2)
    _scatter(left, xy, cluster, _matched(cluster, truth, colours), "Pseudo-labels (clusters)")
    _scatter(right, xy, truth, colours, "True labels")
    figure.suptitle(heading, x=0.01, ha="left")
    return figure


def _matched(cluster: pd.Series, truth: pd.Series, colours: Mapping[str, str]) -> dict[str, str]:
    """Return the colour of each cluster: that of its class, the rest get colours still free."""
    table = pd.crosstab(cluster, truth.fillna("")).reindex(columns=list(colours), fill_value=0)
    names = sorted(cluster.unique(), key=natural_order)
    table = table.reindex(names, fill_value=0)
    rows, columns = linear_sum_assignment(-table.to_numpy())
    found = {names[row]: colours[table.columns[column]]
             for row, column in zip(rows, columns, strict=True)}  # fmt: skip
    free = iter(colour for colour in PALETTE if colour not in found.values())
    return {name: found.get(name) or next(free) for name in names}


def _scatter(
    panel: Axes, xy: np.ndarray, names: pd.Series, colours: Mapping[str, str], title: str
) -> None:
    if (unknown := names.isna()).any():
        _points(panel, xy[unknown], _size(len(xy)), LIGHT, label="no label")
    for name, colour in colours.items():
        _points(panel, xy[names == name], _size(len(xy)), colour, label=short_label(name, 22),
                lw=0.3, edgecolors="white")  # fmt: skip
    panel.set(xticks=[], yticks=[], title=title)
    panel.spines[:].set(visible=True, color=LIGHT)
    panel.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2, handletextpad=0.1)


def _small_multiples(xy: np.ndarray, cluster: pd.Series, truth: pd.Series, heading: str) -> Figure:
    largest = [names.value_counts().index[:_MULTIPLES] for names in (cluster, truth)]
    clusters, classes = (sorted(names, key=natural_order) for names in largest)
    first = -(-len(clusters) // _COLUMNS) * _COLUMNS  # where the classes begin
    n = first + len(classes)
    figure = new_figure(6, 1.4 * -(-n // _COLUMNS) + 0.5)
    axes = panels(figure, n, _COLUMNS)
    for panel in axes[len(clusters) : first]:
        panel.axis("off")
    for panel, name in zip(axes, clusters, strict=False):
        _highlight(panel, xy, (cluster == name).to_numpy(), f"cluster {name}", PALETTE[0])
        panel.set_xlabel(_mostly(truth[cluster == name], "most: {}"), fontsize=8)
    for panel, name in zip(axes[first:], classes, strict=True):
        _highlight(panel, xy, (truth == name).to_numpy(), short_label(name, 20), PALETTE[3])
        panel.set_xlabel(_mostly(cluster[truth == name], "most in cluster {}"), fontsize=8)
    figure.suptitle(
        f"{heading}\nblue: the largest of {cluster.nunique()} clusters; orange: of "
        f"{truth.nunique()} classes", x=0.01, ha="left",
    )  # fmt: skip
    return figure


def _highlight(panel: Axes, xy: np.ndarray, member: np.ndarray, name: str, colour: str) -> None:
    _points(panel, xy[~member], 2, LIGHT)
    _points(panel, xy[member], _size(len(xy)) / 3, colour)
    panel.set(xticks=[], yticks=[])
    panel.set_title(f"{name}: {member.sum()}", fontsize=8.5)
    panel.spines[:].set(visible=True, color=LIGHT)


def _points(panel: Axes, xy: np.ndarray, size: float, colour: str, **look: Any) -> None:
    panel.scatter(xy[:, 0], xy[:, 1], s=size, color=colour, rasterized=True, **look)


def _mostly(others: pd.Series, words: str) -> str:
    """Return what most clips of a cluster or class are, on the other side."""
    most = others.value_counts()
    return words.format(f"{short_label(most.index[0], 16)} ({most.iloc[0]})") if len(most) else ""


def _size(n: int) -> float:
    return float(np.clip(12000 / n, 8, 40))
