"""Batched, on-device augmentations of log-mel crops, each driven by an explicit generator."""

from .make_views import ViewMaker
from .view import View

__all__ = ["View", "ViewMaker"]
