"""One look for all figures: fonts, a palette for colour-blind readers, labels taken literally."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

# Okabe & Ito (2008), yellow replaced: it vanishes on white
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#5B3A8C", "#8C6D31")
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "<", "*", ">")
GREY, LIGHT, INK, FAINT = "#9A9A9A", "#D9D9D9", "#222222", "#7A7A7A"
_FALLBACK_FONTS = ("Noto Sans CJK JP", "Noto Sans", "Noto Sans Arabic", "Noto Sans Devanagari")

Arguments = ParamSpec("Arguments")
Drawn = TypeVar("Drawn")


def styled(draw: Callable[Arguments, Drawn]) -> Callable[Arguments, Drawn]:
    """Run a drawing function with the project's settings and leave matplotlib's own untouched."""

    @wraps(draw)
    def with_style(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Drawn:
        settings: Any = _settings()  # matplotlib's stubs want literal keys
        with matplotlib.rc_context(settings):
            return draw(*args, **kwargs)

    return with_style


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches that lays itself out."""
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)  # inches
    figure = Figure(figsize=(width, height), layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def point_style(number: int) -> tuple[str, str]:
    """Return colour and marker of a class; 80 differ, and neighbours differ in colour.

    >>> point_style(0)
    ('#0072B2', 'o')
    """
    return PALETTE[number % len(PALETTE)], MARKERS[number // len(PALETTE) % len(MARKERS)]


def counted(numbers: Collection[int], noun: str) -> str:
    """Return how many there are, in words for a heading.

    >>> counted([3, 3], "seed"), counted([1, 3], "draw"), counted([1], "seed")
    ('3 seeds', '1 to 3 draws', '1 seed')
    """
    low, high = min(numbers), max(numbers)
    return f"{low} to {high} {noun}s" if low < high else f"{high} {noun}{'s' * (high != 1)}"


@cache
def _fonts() -> tuple[str, ...]:
    installed = set(font_manager.get_font_names())
    return ("DejaVu Sans", *(name for name in _FALLBACK_FONTS if name in installed))


def _settings() -> dict[str, Any]:
    return {
        "font.family": list(_fonts()),
        "font.size": 10,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 10,
        "axes.edgecolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "legend.fontsize": 9,
        "legend.frameon": False,
        "figure.titlesize": 12,
        "figure.titleweight": "bold",
        "text.parse_math": False,  # a class may be called "$x$"
    }
