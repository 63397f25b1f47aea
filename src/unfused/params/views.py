"""Augmentations."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..views.settings import MethodViewSettings, ViewSettings
from .model import Model, like


class Views(like(ViewSettings)):  # type: ignore[misc]
    """Augmentations of the training crops."""


class MethodViews(like(MethodViewSettings), Views):  # type: ignore[misc]
    """Augmentations of a self-supervised method."""


class KMixViews(MethodViews):
    """Views with k-mix."""

    mixing: Literal["k_mix"] = "k_mix"


class KMixParams(Model):
    """Centroids for the methods with ``views.mixing: k_mix``, and examples of what it does.

    Attributes:
        n_centroids: Clusters of the pre-training clips; at most a tenth of the clips are taken.
        max_clips: Of more clips a random sample of this size is clustered.
        seed: Seed of sample, k-means and examples.
        views: Augmentations of the examples; training has those of its method.
        n_examples: Clips shown.
    """

    n_centroids: int = Field(128, ge=1)
    max_clips: int = Field(20000, ge=1)
    seed: int = 0
    views: KMixViews = Field(default_factory=KMixViews)
    n_examples: int = Field(4, ge=1)
