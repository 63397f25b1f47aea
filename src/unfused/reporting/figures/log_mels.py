"""Log-mels as pictures: steps of the views, a few clips side by side."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...core.errors import UserError
from ..names import short_label
from .style import new_figure, panels, styled

_COLUMNS = 3


@styled()
def view_steps(
    examples: Mapping[str, Mapping[str, np.ndarray]], *, hop_seconds: float = 0.01
) -> Figure:
    """Draw examples as rows and the steps of the views as columns, one colour scale per row.

    Name of the example -> step, the same in all -> normalised log-mel, (F, T).
    """
    steps = list(next(iter(examples.values())))
    figure = new_figure(1.5 * len(steps) + 0.5, 1.45 * len(examples) + 0.35)
    axes = figure.subplots(len(examples), len(steps), squeeze=False, sharex=True, sharey=True)
    for row, (name, images) in zip(axes, examples.items(), strict=True):
        scale = _scale(images.values())
        for panel, step in zip(row, steps, strict=True):
            _draw(panel, images[step], hop_seconds, scale)
        row[0].set_ylabel("mel band")
        row[0].annotate(
            name, (0.03, 0.96), xycoords="axes fraction", va="top", fontsize=7.5, color="white",
            bbox={"facecolor": "black", "alpha": 0.55, "edgecolor": "none", "pad": 1.5},
        ).set_in_layout(False)  # fmt: skip
    for top, bottom, step in zip(axes[0], axes[-1], steps, strict=True):
        top.set_title(step)
        bottom.set_xlabel("seconds")
    return figure


@styled()
def log_mels(clips: Mapping[str, np.ndarray], *, hop_seconds: float = 0.01) -> Figure:
    """Draw log-mels, name -> (T, F), side by side, with one colour scale; UserError if none."""
    if not clips:
        raise UserError("there is no clip to draw; give at least one")
    rows, columns = -(-len(clips) // _COLUMNS), min(len(clips), _COLUMNS)
    figure = new_figure(max(5, 2.5 * columns + 0.9), 1.8 * rows + 0.2)
    axes, scale = panels(figure, len(clips), columns), _scale(clips.values())
    for panel, (name, clip) in zip(axes, clips.items(), strict=True):
        image = _draw(panel, np.asarray(clip, dtype=np.float32).T, hop_seconds, scale)
        panel.set_title(short_label(name, 24))
    axes[columns * (rows - 1)].set(xlabel="seconds", ylabel="mel band")
    figure.colorbar(image, ax=figure.axes, pad=0.01, fraction=0.03, label="nats")
    return figure


def _scale(images: Iterable[np.ndarray]) -> tuple[float, float]:
    low, high = np.percentile(np.concatenate([np.ravel(image) for image in images]), [1, 99])
    return float(low), float(max(high, low + 1e-6))


def _draw(panel: Axes, image: np.ndarray, hop_seconds: float, scale: tuple[float, float]) -> Any:
    panel.xaxis.set_major_locator(MaxNLocator(3))
    height, width = image.shape
    return panel.imshow(
        image, origin="lower", aspect="auto", cmap="magma", interpolation="nearest",
        vmin=scale[0], vmax=scale[1], extent=(0, width * hop_seconds, 0, height),
    )  # fmt: skip
