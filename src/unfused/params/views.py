"""Augmentations."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ..core.errors import UserError
from .model import Model


class Views(Model):
    """Augmentations of the training crops; BYOL-A's values (arXiv 2103.06695).

    The defaults are those of :class:`unfused.views.ViewMaker`; a test holds them together.

    Attributes:
        mixup_ratio: Largest share of a past crop mixed in; 0: none.
        mixup_bank: Past crops kept.
        mixup_min_level: Lowest mean of a past crop's normalised log-mel; null: none.
        spans_of_mix: Whether a mixed crop is real where it was itself, or where the other was too.
        freq_scale: Height of the resized crop, relative to the input's.
        time_scale: Its width.
        virtual_crop: Canvas of the resized crop, height and width.
        clip_normalisation: Subtract each view's mean in every mel band; embedding does it too.
        freq_masks: Bands of mel channels that SpecAugment hides in each view; 0: none.
        freq_mask_width: Their largest width in channels.
        time_masks: Bands of frames that it hides; 0: none.
        time_mask_width: Their largest width in frames.
    """

    mixup_ratio: float = Field(default=0.4, ge=0, le=1)
    mixup_bank: int = Field(default=2048, ge=1)
    mixup_min_level: float | None = None
    spans_of_mix: Literal["own", "union"] = "own"
    freq_scale: tuple[float, float] = (0.6, 1.5)
    time_scale: tuple[float, float] = (0.6, 1.5)
    virtual_crop: tuple[float, float] = (1.0, 1.5)
    clip_normalisation: bool = False
    freq_masks: int = Field(default=0, ge=0)
    freq_mask_width: int = Field(default=16, ge=1)
    time_masks: int = Field(default=0, ge=0)
    time_mask_width: int = Field(default=16, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> Views:
        for name in ("freq_scale", "time_scale"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise UserError(f"{name}=({low}, {high}) must be 0 < low <= high")
        return self


class MethodViews(Views):
    """Augmentations of a self-supervised method; k-mix has centroids of the pre-training clips.

    Attributes:
        mixing: ``mixup`` with any past crop, ``k_mix`` (SLICER) with one far away, ``none``.
        k_mix_furthest: How many of the furthest past crops k-mix draws from.
        linear_gain: Largest gain of the linear fade of BYOL-A's version 2, where it is 1; 0: none.
    """

    mixing: Literal["mixup", "k_mix", "none"] = "mixup"
    k_mix_furthest: int = Field(default=128, ge=1)
    linear_gain: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _below_the_bank(self) -> MethodViews:
        if self.mixing == "k_mix" and self.k_mix_furthest >= self.mixup_bank:
            raise UserError(
                f"k_mix_furthest={self.k_mix_furthest} must be less than mixup_bank="
                f"{self.mixup_bank}: with the whole bank to draw from k-mix is plain mixup"
            )
        return self


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
