"""Several figures of one kind, one below the other, as one picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ...core.errors import UserError

_DPI = 150


def stack(figures: Sequence[Figure]) -> Figure:
    """Return one figure that shows ``figures`` from top to bottom; a single one as it is.

    Raises:
        ValueError: There is no figure.
    """
    if not figures:
        raise UserError("there is no figure to show")
    if len(figures) == 1:
        return figures[0]
    pictures = [_pixels(figure) for figure in figures]
    width = max(picture.shape[1] for picture in pictures)
    height = sum(picture.shape[0] for picture in pictures)
    whole = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor="white")
    top = height
    for picture in pictures:
        top -= picture.shape[0]
        whole.figimage(picture, xo=0, yo=top)
    return whole


def _pixels(figure: Figure) -> np.ndarray:
    """Return a figure as pixels, (height, width, 4) uint8."""
    figure.set_dpi(_DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())
