"""One look for all figures: fonts, a palette for colour-blind readers, labels taken literally."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, FigureBase
from matplotlib.layout_engine import ConstrainedLayoutEngine

# Okabe & Ito (2008), yellow replaced: it vanishes on white
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#5B3A8C", "#8C6D31",
           "#222222", "#A6CE39")  # fmt: skip
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "<", "*", ">")
GREY, LIGHT, INK = "#9A9A9A", "#D9D9D9", "#222222"
DPI = 160  # the report counts on it
_FALLBACK_FONTS = ("Noto Sans CJK JP", "Noto Sans", "Noto Sans Arabic", "Noto Sans Devanagari")


@contextmanager
def styled() -> Iterator[None]:
    """Draw with the project's settings, and leave matplotlib's own untouched."""
    settings: Any = _settings()  # matplotlib's stubs want literal keys
    with matplotlib.rc_context(settings):
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches that lays itself out."""
    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06)  # inches
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def panels(figure: FigureBase, n: int, columns: int) -> list[Axes]:
    """Return so many panels of a figure, in rows of ``columns``."""
    axes = figure.subplots(-(-n // columns), columns, squeeze=False).ravel().tolist()
    for panel in axes[n:]:
        panel.axis("off")
    return list(axes[:n])


@cache
def _settings() -> dict[str, Any]:
    installed = set(font_manager.get_font_names())
    return {
        "font.family": ["DejaVu Sans", *(name for name in _FALLBACK_FONTS if name in installed)],
        "font.size": 9.5,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.edgecolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.fontsize": 9,
        "legend.frameon": False,
        "figure.titlesize": 11,
        "figure.titleweight": "bold",
        "text.parse_math": False,  # a class may be called "$x$"
    }
