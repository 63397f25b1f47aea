"""What k-mix does to a few crops: the crop, its far-away partner, the mixture, the view."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from ...core.errors import UserError
from ..k_mix_examples import STEPS, Example, KMixExamples, Pair
from .style import new_figure, styled


@styled
def kmix_pairs(shown: KMixExamples, *, title: str = "k-mix pairs") -> Figure:
    """Draw examples as rows and the steps of k-mix as columns.

    Args:
        shown: The examples.
        title: Heading.

    Raises:
        ValueError: There is no example.
    """
    if not shown.examples:
        raise UserError("there is no example of k-mix to draw")
    rows = len(shown.examples)
    figure = new_figure(2.8 * len(STEPS) + 0.9, 1.95 * rows + 0.7)
    axes = figure.subplots(rows, len(STEPS), squeeze=False, sharey=True)
    for row, example in zip(axes, shown.examples, strict=True):
        image = _draw_row(row, example, shown.hop_seconds)
        figure.colorbar(image, ax=row.tolist(), pad=0.01, fraction=0.03)
        row[0].set_ylabel("mel band")
    for panel in axes[-1]:
        panel.set_xlabel("seconds")
    figure.suptitle(f"{title} (colour: normalised log-mel)", x=0.01, ha="left")
    return figure


def _draw_row(row: np.ndarray, example: Example, hop_seconds: float) -> AxesImage:
    values = np.concatenate([np.ravel(example.log_mels[step]) for step in STEPS])
    low, high = np.nanpercentile(values, [0.5, 99.5])
    for panel, step, words in zip(row, STEPS, _titles(example.pair), strict=True):
        image = _draw(panel, example.log_mels[step], hop_seconds, (low, max(high, low + 1e-6)))
        panel.set_title(words, fontsize=9)
    return image


def _draw(
    panel: Axes, log_mel: np.ndarray, hop_seconds: float, limits: tuple[float, float]
) -> AxesImage:
    n_mels, n_frames = log_mel.shape
    panel.xaxis.set_major_locator(MaxNLocator(4))
    return panel.imshow(
        log_mel, origin="lower", aspect="auto", cmap="magma", interpolation="nearest",
        vmin=limits[0], vmax=limits[1], extent=(0, n_frames * hop_seconds, 0, n_mels),
    )  # fmt: skip


def _titles(pair: Pair) -> tuple[str, str, str, str]:
    return (
        f"crop: cluster {pair.cluster}",
        f"partner: cluster {pair.partner_cluster},\n{pair.distance:.0f} away "
        f"(bank's median {pair.median_distance:.0f})",
        f"k-mix: {pair.share:.0%} partner",
        "view: resized crop of it",
    )
