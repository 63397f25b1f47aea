"""Batched, on-device augmentations of log-mel crops, each driven by an explicit generator."""

from .k_mix import KMix
from .k_mix_centroids import fit_centroids
from .make_views import ViewMaker
from .view import View

__all__ = ["KMix", "View", "ViewMaker", "fit_centroids"]
