"""Log-mels of a few clips side by side."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...core.errors import UserError
from ..naming import short_label
from .style import new_figure, styled

_COLUMNS = 3


@styled
def log_mels(clips: Mapping[str, np.ndarray], *, hop_seconds: float = 0.01) -> Figure:
    """Draw log-mels with one colour scale.

    Args:
        clips: Name of the clip -> log-mel, (T, F).
        hop_seconds: Seconds per frame.

    Raises:
        ValueError: There is no clip.
    """
    if not clips:
        raise UserError("clips is empty; give at least one clip to draw")
    rows, columns = -(-len(clips) // _COLUMNS), min(len(clips), _COLUMNS)
    figure = new_figure(2.7 * columns + 0.9, 1.9 * rows + 0.2)
    axes = figure.subplots(rows, columns, squeeze=False)
    low, high = np.percentile(np.concatenate([np.ravel(clip) for clip in clips.values()]), [1, 99])
    for panel, (name, clip) in zip(axes.flat, clips.items(), strict=False):
        n_frames, n_mels = np.shape(clip)
        image = panel.imshow(
            np.asarray(clip, dtype=np.float32).T, origin="lower", aspect="auto", cmap="magma",
            vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest",
            extent=(0, n_frames * hop_seconds, 0, n_mels),
        )  # fmt: skip
        panel.set_title(short_label(name, 24))
        panel.xaxis.set_major_locator(MaxNLocator(4))
    for panel in axes.flat[len(clips) :]:
        panel.set_axis_off()
    axes[-1, 0].set(xlabel="seconds", ylabel="mel band")
    figure.colorbar(image, ax=axes.ravel().tolist(), pad=0.01, fraction=0.03, label="log energy")
    return figure
