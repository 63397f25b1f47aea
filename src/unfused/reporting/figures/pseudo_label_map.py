"""t-SNE of a task's clips, coloured by pseudo-label and by true label."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import normalized_mutual_info_score

from ...core.errors import UserError
from ...core.seeding import derive_seed, numpy_generator
from ..naming import natural_order, short_label
from .style import GREY, LIGHT, new_figure, point_style, styled

log = logging.getLogger(__name__)
_SHOWN = 40  # classes with a style of their own
_SLOW = 1000  # clips that take more than a few seconds
_ROW = 0.19  # inches of a legend row


class TsnePoints(NamedTuple):
    """Where t-SNE puts some clips.

    Attributes:
        rows: Which rows of the embeddings are drawn, (n,) int64, ascending.
        xy: Their places, (n, 2) float32.
    """

    rows: np.ndarray
    xy: np.ndarray


def tsne_points(embeddings: np.ndarray, seed: int, max_points: int = 3000) -> TsnePoints:
    """Return a two-dimensional t-SNE map of clip embeddings.

    PCA to at most 50 dimensions, then Barnes-Hut t-SNE (van der Maaten 2014) started from the first
    two components; perplexity 30, less for few clips. Embeddings on a line are placed on a line,
    three clips or fewer and clips that are all alike around a point.

    Args:
        embeddings: One row per clip of *one* data set, (N, D).
        seed: Which clips are drawn, if there are more than ``max_points``.
        max_points: How many clips to draw at most.

    Raises:
        ValueError: There is no row, or a value is not finite.
    """
    embeddings = np.asarray(embeddings, dtype=np.float64)
    if embeddings.ndim != 2 or not len(embeddings):
        raise UserError(f"embeddings has shape {embeddings.shape}; (N, D) with N >= 1 is needed")
    if not np.isfinite(embeddings).all():
        raise UserError("embeddings hold NaN or infinity; the training that made them diverged")
    rows = np.arange(len(embeddings))
    if len(rows) > max_points:
        rows = np.sort(numpy_generator(seed, "tsne").choice(rows, max_points, replace=False))
    chosen = embeddings[rows]
    if len(rows) < 4 or chosen.std(axis=0).max() < 1e-9:
        return TsnePoints(rows, _around_a_point(len(rows)))
    reduced = PCA(min(50, *chosen.shape), random_state=0).fit_transform(chosen)
    reduced /= reduced[:, 0].std()
    if reduced.shape[1] < 2 or reduced[:, 1].std() < 1e-9:
        return TsnePoints(rows, np.pad(reduced[:, :1], ((0, 0), (0, 1))).astype(np.float32))
    perplexity = min(30.0, (len(rows) - 1) / 3)
    if len(rows) >= _SLOW:  # scikit-learn tells no progress
        log.info("placing %d clips by t-SNE", len(rows))
    tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=derive_seed(seed) % 2**32)
    return TsnePoints(rows, tsne.fit_transform(reduced))


def _around_a_point(n: int) -> np.ndarray:
    """Return n places on a circle, (n, 2): all that can be said of clips without structure."""
    angle = 2 * np.pi * np.arange(n) / n
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


@styled
def tsne_pseudo_labels(
    xy: np.ndarray,
    pseudo_labels: Sequence[int] | np.ndarray,
    labels: Sequence[object] | np.ndarray,
    *,
    task: str,
    n_clips: int | None = None,
    nmi: float | None = None,
    n_labelled: int | None = None,
) -> Figure:
    """Draw the same points twice: coloured by pseudo-label and by true label.

    A cluster has the colour of the class it shares most clips with (one cluster per class), so
    equal pictures mean equal partitions.

    Args:
        xy: Places of the clips, (n, 2).
        pseudo_labels: Cluster of each point, (n,).
        labels: True class of each point, (n,); None or NaN where unknown.
        task: Name of the task.
        n_clips: How many clips there are altogether, if more than are drawn.
        nmi: Normalised mutual information over all labelled clips; None: over the points drawn.
        n_labelled: On how many clips it was measured; said where that is not all of them.
    """
    cluster = pd.Series([str(value) for value in pseudo_labels], dtype=object)
    truth = pd.Series(list(labels), dtype=object)
    known = truth.notna()
    if nmi is None and known.any():
        nmi = normalized_mutual_info_score(truth[known].astype(str), cluster[known])
        n_labelled = int(known.sum())
    class_styles = _numbered(truth[known].astype(str))
    cluster_styles = _matched(cluster, truth.where(known), class_styles)
    rows = [-(-min(len(styles), _SHOWN + 1) // columns)
            for styles, columns in ((cluster_styles, 6), (class_styles, 3))]  # fmt: skip
    legend_height = _ROW * (max(rows) + 1)
    figure = new_figure(11, 5.2 + legend_height)
    axes = figure.subplots(2, 2, height_ratios=[4.7, legend_height])
    whole = f" of {n_clips:,}" if (n_clips or 0) > len(truth) else ""
    size = f"{len(truth):,}{whole} clips"
    agreement = "" if nmi is None else f", NMI {nmi:.2f}"
    if nmi is not None and n_labelled not in (None, n_clips or len(truth)):
        agreement += f" on {n_labelled:,} labelled clips"
    figure.suptitle(f"{short_label(task, 50)}: t-SNE of {size}{agreement}", x=0.01, ha="left")
    _panel(axes[:, 0], xy, cluster, cluster_styles, "Pseudo-labels (clusters)", columns=6)
    _panel(axes[:, 1], xy, truth.where(known), class_styles, "True labels", columns=3)
    return figure


def _numbered(names: pd.Series) -> dict[str, int]:
    """Return the style of each class: its rank in size decides which have one of their own."""
    sizes = names.value_counts()
    ranked = sorted(sizes.index, key=lambda name: (-sizes[name], natural_order(name)))
    shown = sorted(ranked[:_SHOWN], key=natural_order)
    return {name: number for number, name in enumerate(shown)} | dict.fromkeys(ranked[_SHOWN:], -1)


def _matched(
    cluster: pd.Series, truth: pd.Series, class_styles: Mapping[str, int]
) -> dict[str, int]:
    """Return the style of each cluster: that of its class, the rest get styles still free."""
    styles = _numbered(cluster)
    own = [name for name, style in styles.items() if style >= 0]
    table = pd.crosstab(cluster, truth.astype(str).where(truth.notna()))
    table = table.reindex(index=own, columns=[c for c in class_styles if class_styles[c] >= 0])
    rows, columns = linear_sum_assignment(-table.fillna(0).to_numpy())
    matched = {own[row]: class_styles[table.columns[column]]
               for row, column in zip(rows, columns, strict=True)}  # fmt: skip
    free = iter(number for number in range(2 * _SHOWN) if number not in matched.values())
    return {
        name: -1 if style < 0 else matched[name] if name in matched else next(free)
        for name, style in styles.items()
    }


def _panel(
    axes: Sequence[Axes],
    xy: np.ndarray,
    names: pd.Series,
    styles: Mapping[str, int],
    title: str,
    *,
    columns: int,
) -> None:
    top, bottom = axes
    size = float(np.clip(12000 / len(names), 8, 45))
    plain: dict[str, Any] = {
        "s": size,
        "linewidths": 0.3,
        "edgecolors": "white",
        "rasterized": True,
    }
    handles = []
    missing, rest = names.isna(), names.map(styles).eq(-1)
    for chosen, colour, label in ((missing, LIGHT, "unlabelled"), (rest, GREY, "others")):
        if chosen.any():
            top.scatter(*xy[chosen].T, color=colour, **plain)
            handles.append(_handle(colour, "o", label))
    for name in sorted(
        (name for name in styles if styles[name] >= 0), key=natural_order, reverse=True
    ):
        colour, marker = point_style(styles[name])
        top.scatter(*xy[names == name].T, color=colour, marker=marker, **plain)
        handles.append(_handle(colour, marker, short_label(name, 22)))
    top.set(xticks=[], yticks=[], title=f"{title}: {len(styles)}")
    top.spines[:].set(visible=True, color=LIGHT)
    top.set_aspect("equal", adjustable="datalim")
    bottom.axis("off")
    bottom.legend(handles[::-1], [str(handle.get_label()) for handle in handles[::-1]],
                  loc="upper left", ncols=columns, borderaxespad=0, handletextpad=0.1,
                  columnspacing=0.8, labelspacing=0.3)  # fmt: skip


def _handle(colour: str, marker: str, label: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, linestyle="", markersize=6, label=label)
