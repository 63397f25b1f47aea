"""Log-mels as pictures: steps of the views, a few clips side by side."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...core.errors import UserError
from ..names import short_label
from .style import new_figure, styled

_COLUMNS = 3


@styled
def view_steps(
    examples: Mapping[str, Mapping[str, np.ndarray]], *, hop_seconds: float = 0.01
) -> Figure:
    """Draw examples as rows and the steps of the views as columns, one colour scale per row.

    Args:
        examples: Name of the example -> step -> normalised log-mel, (F, T); all the same steps.
        hop_seconds: Seconds per frame.

    Raises:
        UserError: There is no example, or one lacks a step.
    """
    if not examples:
        raise UserError("there is no example to draw; give at least one clip")
    steps = list(next(iter(examples.values())))
    for name, images in examples.items():
        if list(images) != steps:
            raise UserError(f"example {name!r} has the steps {list(images)}, the first has {steps}")
    figure = new_figure(1.5 * len(steps) + 0.5, 1.45 * len(examples) + 0.35)
    axes = figure.subplots(len(examples), len(steps), squeeze=False, sharex=True, sharey=True)
    for row, (name, images) in zip(axes, examples.items(), strict=True):
        scale = np.percentile(
            np.concatenate([np.ravel(image) for image in images.values()]), [1, 99]
        )
        for panel, (step, image) in zip(row, images.items(), strict=True):
            _draw(panel, image, hop_seconds, scale)
            if panel in axes[0]:
                panel.set_title(step)
            if panel in axes[-1]:
                panel.set_xlabel("seconds")
        row[0].set_ylabel("mel band")
        row[0].annotate(
            name, (0.03, 0.96), xycoords="axes fraction", va="top", fontsize=7.5, color="white",
            bbox={"facecolor": "black", "alpha": 0.55, "edgecolor": "none", "pad": 1.5},
        ).set_in_layout(False)  # fmt: skip
    return figure


@styled
def log_mels(
    clips: Mapping[str, np.ndarray], *, hop_seconds: float = 0.01, xlabel: str = "seconds"
) -> Figure:
    """Draw log-mels, or other spectra side by side, with one colour scale.

    Args:
        clips: Name -> log-mel, (T, F).
        hop_seconds: Seconds per frame, or what else lies along the x-axis.
        xlabel: What that is.

    Raises:
        UserError: There is no clip.
    """
    if not clips:
        raise UserError("there is no clip to draw; give at least one")
    rows, columns = -(-len(clips) // _COLUMNS), min(len(clips), _COLUMNS)
    figure = new_figure(max(5, 2.5 * columns + 0.9), 1.8 * rows + 0.2)
    axes = figure.subplots(rows, columns, squeeze=False)
    scale = np.percentile(np.concatenate([np.ravel(clip) for clip in clips.values()]), [1, 99])
    for panel, (name, clip) in zip(axes.flat, clips.items(), strict=False):
        image = _draw(panel, np.asarray(clip, dtype=np.float32).T, hop_seconds, scale)
        panel.set_title(short_label(name, 24))
    for panel in axes.flat[len(clips) :]:
        panel.set_axis_off()
    axes[-1, 0].set(xlabel=xlabel, ylabel="mel band")
    figure.colorbar(image, ax=axes.ravel().tolist(), pad=0.01, fraction=0.03, label="nats")
    return figure


def _draw(panel, image, hop_seconds, scale):  # type: ignore[no-untyped-def]
    panel.xaxis.set_major_locator(MaxNLocator(3))
    low, high = scale
    return panel.imshow(
        np.asarray(image), origin="lower", aspect="auto", cmap="magma", interpolation="nearest",
        vmin=low, vmax=max(high, low + 1e-6),
        extent=(0, np.shape(image)[1] * hop_seconds, 0, np.shape(image)[0]),
    )  # fmt: skip
