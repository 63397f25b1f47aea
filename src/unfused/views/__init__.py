"""Batched, on-device augmentations of log-mel crops, each driven by an explicit generator."""

from importlib import import_module
from typing import Any

_EXPORTS = {
    "KMix": "k_mix",
    "View": "view",
    "ViewMaker": "make_views",
    "fit_centroids": "k_mix_centroids",
}
__all__ = [*_EXPORTS]


def __getattr__(name: str) -> Any:
    """Import what is asked for: the settings alone need no torch."""
    if name in _EXPORTS:
        return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
