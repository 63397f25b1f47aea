"""What the augmentations do to a few clips, from the crop to the views the methods see."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...core.errors import UserError
from ..naming import short_label
from .style import new_figure, styled


@styled
def augmentation_views(
    examples: Mapping[str, Mapping[str, np.ndarray]],
    *,
    hop_seconds: float = 0.01,
    title: str = "Augmentation views",
) -> Figure:
    """Draw examples as rows and the steps of the augmentation as columns.

    Args:
        examples: Name of the example (its class or clip) -> name of the step ("log-mel crop",
            "mixup", "view A", "view B") -> normalised log-mel, (F, T). All have the same steps.
        hop_seconds: Seconds per frame.
        title: Heading.

    Raises:
        ValueError: There is no example, or one lacks a step.
    """
    if not examples:
        raise UserError("examples is empty; give at least one clip to draw")
    steps = list(next(iter(examples.values())))
    for name, views in examples.items():
        if list(views) != steps:
            raise UserError(f"example {name!r} has the steps {list(views)}, the first has {steps}")
    figure = new_figure(2.7 * len(steps) + 0.9, 1.95 * len(examples) + 0.7)
    axes = figure.subplots(len(examples), len(steps), squeeze=False, sharey="row")
    for row, (name, views) in enumerate(examples.items()):
        values = np.concatenate([np.ravel(view) for view in views.values()])
        low, high = np.nanpercentile(values, [0.5, 99.5])
        for panel, (step, view) in zip(axes[row], views.items(), strict=True):
            image = panel.imshow(
                np.asarray(view), origin="lower", aspect="auto", cmap="magma",
                vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest",
                extent=(0, np.shape(view)[1] * hop_seconds, 0, np.shape(view)[0]),
            )  # fmt: skip
            panel.xaxis.set_major_locator(MaxNLocator(4))
            if row == 0:
                panel.set_title(step)
            if row == len(examples) - 1:
                panel.set_xlabel("seconds")
        axes[row, 0].set_ylabel(f"{short_label(name, 20)}\nmel band")
        figure.colorbar(image, ax=axes[row].tolist(), pad=0.01, fraction=0.03)
    figure.suptitle(f"{title} (colour: normalised log-mel)", x=0.01, ha="left")
    return figure
