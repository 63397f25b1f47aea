"""From a batch of crops to the augmented views a method trains on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ..core.distributed import gather_rows
from ..core.errors import UserError
from .k_mix import KMix
from .mixup import LogMixupExp, SpansOfMix
from .normalisation import Normalisation, clip_normalisation
from .random_linear_fader import RandomLinearFader
from .random_resize_crop import RandomResizeCrop, Range
from .spec_augment import SpecAugment
from .view import View

Mixing = Literal["mixup", "k_mix", "none"]
PLAIN_VIEWS: Mapping[str, Any] = {"mixing": "none", "freq_scale": (1, 1), "time_scale": (1, 1)}
"""Arguments of :class:`ViewMaker` with which it only normalises."""


class ViewMaker(nn.Module):
    """Normalise, then mix and resize-crop each view: the augmentation of every LAPE method.

    The order and the defaults are BYOL-A's (arXiv 2103.06695) as LAPE, DECAR-v2 and UnFuSeD use
    them; SLICER (arXiv 2211.01519) has k-mix in place of mixup. (LAPE's code applies mixup first
    and k-mix after the crop; here k-mix comes before it, as in the paper, and alone.) The bank lies
    in buffers, so ``state_dict()`` is whole.

    Args:
        mean: Mean of the training set's log-mels.
        std: Their standard deviation.
        n_mels: Mel bands F of a crop.
        crop_frames: Frames T of a crop.
        mixing: ``mixup`` with any past crop, ``k_mix`` with one far from the crop, or ``none``.
        mixup_ratio: Largest share of the partner; 0 switches mixing off.
        mixup_bank: Past crops kept as partners.
        mixup_min_level: Lowest level of a partner, the mean of its normalised log-mel over the
            whole crop: crops of near silence or padding are left out. None: none is.
        spans_of_mix: What is real in a mixed crop: what is in its ``own``, or in the ``union`` with
            the partner.
        k_mix_furthest: Of k-mix: how many of the furthest past crops a partner is drawn from.
        k_mix_centroids: Of k-mix: centroids of un-normalised time-mean log-mels, (K, F).
        freq_scale: Range of the box height of the random resize crop.
        time_scale: Range of its width.
        virtual_crop: Canvas of the random resize crop, relative height and width.
        linear_gain: Largest gain of a linear fade after it (BYOL-A version 2: 1); 0: no fade.
        clip_normalisation: Subtract each view's mean in every mel band, before masks.
        freq_masks: Bands of mel channels that SpecAugment hides at the end; 0: none.
        freq_mask_width: Their largest width in channels.
        time_masks: Bands of frames that it hides; 0: none.
        time_mask_width: Their largest width in frames.

    Raises:
        UserError: A value is out of its range.
    """

    def __init__(
        self,
        *,
        mean: float,
        std: float,
        n_mels: int,
        crop_frames: int,
        mixing: Mixing = "mixup",
        mixup_ratio: float = 0.4,
        mixup_bank: int = 2048,
        mixup_min_level: float | None = None,
        spans_of_mix: SpansOfMix = "own",
        k_mix_furthest: int = 128,
        k_mix_centroids: Tensor | None = None,
        freq_scale: Range = (0.6, 1.5),
        time_scale: Range = (0.6, 1.5),
        virtual_crop: Range = (1.0, 1.5),
        linear_gain: float = 0.0,
        clip_normalisation: bool = False,
        freq_masks: int = 0,
        freq_mask_width: int = 16,
        time_masks: int = 0,
        time_mask_width: int = 16,
    ) -> None:
        super().__init__()
        self.normalisation = Normalisation(mean=mean, std=std)
        self.clip_normalisation = clip_normalisation
        if mixing not in get_args(Mixing):
            raise UserError(f"mixing={mixing!r} is unknown; choose from {list(get_args(Mixing))}")
        bank: dict[str, Any] = {
            **{"ratio": mixup_ratio, "bank_size": mixup_bank, "crop_frames": crop_frames},
            **{"spans": spans_of_mix, "min_level": mixup_min_level},
        }
        mixup: LogMixupExp
        if mixing == "k_mix":
            mixup = KMix(_checked(k_mix_centroids, n_mels), furthest=k_mix_furthest, **bank)
        else:
            mixup = LogMixupExp(n_mels=n_mels, **bank)
        self.mixup = mixup if mixup_ratio > 0 and mixing != "none" else None
        self.resize_crop = RandomResizeCrop(
            freq_scale=freq_scale, time_scale=time_scale, virtual_crop=virtual_crop
        )
        self.fader = RandomLinearFader(linear_gain)
        self.masks = SpecAugment(freq_masks, freq_mask_width, time_masks, time_mask_width)

    def normalised(self, batch: View) -> View:
        """Return the crops normalised by the training set's statistics; so the bank keeps them."""
        return View(self.normalisation(batch.log_mel), batch.spans)

    def plain(self, batch: View) -> View:
        """Return the crops as the network takes them, not augmented."""
        view = self.normalised(batch)
        return clip_normalisation(view) if self.clip_normalisation else view

    @torch.no_grad()
    def forward(
        self, batch: View, n_views: int, generator: torch.Generator, n_crops: int = 1
    ) -> tuple[View, ...]:
        """Return independently augmented views of each clip, (B, 1, F, T), and remember the crops.

        Args:
            batch: Log-mel crops in nats, (n_crops * B, 1, F, T), with their spans.
            n_views: How many views to make.
            generator: Source of randomness, on the batch's device.
            n_crops: Crops of each clip; view v is made from crop v modulo ``n_crops``.
        """
        normal = self.normalised(batch)
        clusters = None if self.mixup is None else self.mixup.nearest(batch)
        size = len(normal.log_mel) // n_crops
        views = []
        for number in range(n_views):
            first = number % n_crops * size
            crop = slice(first, first + size)
            view = View(*(part[crop] for part in normal))
            if self.mixup is not None and clusters is not None:
                view = self.mixup(view, clusters[crop], generator)
            view = self.fader(self.resize_crop(view, generator), generator)
            view = clip_normalisation(view) if self.clip_normalisation else view
            views.append(self.masks(view, generator))
        if self.mixup is not None and clusters is not None:  # all processes have the same bank
            every = View(*(gather_rows(part) for part in normal))
            self.mixup.remember(every, gather_rows(clusters))
        return tuple(views)

    def extra_repr(self) -> str:
        """Return the parameters for the log and for the mark of a training."""
        clip = f"clip_normalisation={self.clip_normalisation}"
        return f"{self.resize_crop!r}, {self.fader!r}, {clip}, {self.masks!r}"


def _checked(centroids: Tensor | None, n_mels: int) -> Tensor:
    """Return the centroids of k-mix if they fit the crops."""
    if centroids is None:
        raise UserError(
            "mixing='k_mix' needs k_mix_centroids, as unfused.views.fit_centroids finds them; or "
            "set mixing to 'mixup'"
        )
    if centroids.shape[1:] != (n_mels,):
        raise UserError(
            f"k_mix_centroids of shape {tuple(centroids.shape)} must be (K, {n_mels}): fit them on "
            "log-mels of this front-end"
        )
    return centroids
