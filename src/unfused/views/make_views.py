"""From a batch of crops to the augmented views a method trains on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ..core.distributed import gather_rows
from ..core.errors import UserError
from .k_mix import KMix
from .log_mixup_exp import LogMixupExp
from .normalisation import Normalisation
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
    in buffers, so ``state_dict()`` is whole. ``mixup_ratio=0`` with both scales (1, 1) only
    normalises.

    Args:
        mean: Mean of the training set's log-mels.
        std: Their standard deviation.
        n_mels: Mel bands F of a crop.
        crop_frames: Frames T of a crop.
        mixing: ``mixup`` with any past crop, ``k_mix`` with one far from the crop, or ``none``.
        mixup_ratio: Largest share of the partner; 0 switches mixing off.
        mixup_bank: Past crops kept as partners.
        k_mix_furthest: Of k-mix: how many of the furthest past crops a partner is drawn from.
        k_mix_centroids: Of k-mix: centroids of un-normalised time-mean log-mels, (K, F).
        freq_scale: Range of the box height of the random resize crop.
        time_scale: Range of its width.
        virtual_crop: Canvas of the random resize crop, relative height and width.
        linear_gain: Largest gain of a linear fade after it (BYOL-A version 2: 1); 0: no fade.
        freq_masks: Bands of mel channels that SpecAugment hides at the end; 0: none.
        freq_mask_width: Their largest width in channels.
        time_masks: Bands of frames that it hides; 0: none.
        time_mask_width: Their largest width in frames.

    Raises:
        ValueError: A value is out of its range.
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
        k_mix_furthest: int = 128,
        k_mix_centroids: Tensor | None = None,
        freq_scale: Range = (0.6, 1.5),
        time_scale: Range = (0.6, 1.5),
        virtual_crop: Range = (1.0, 1.5),
        linear_gain: float = 0.0,
        freq_masks: int = 0,
        freq_mask_width: int = 16,
        time_masks: int = 0,
        time_mask_width: int = 16,
    ) -> None:
        super().__init__()
        self.normalisation = Normalisation(mean=mean, std=std)
        if mixing not in get_args(Mixing):
            raise UserError(f"mixing={mixing!r} is unknown; choose from {list(get_args(Mixing))}")
        bank = {"ratio": mixup_ratio, "bank_size": mixup_bank, "crop_frames": crop_frames}
        mixup: LogMixupExp | KMix
        if mixing == "k_mix":
            centroids = _checked(k_mix_centroids, n_mels)
            mixup = KMix(centroids, furthest=k_mix_furthest, **bank)  # type: ignore[arg-type]
        else:
            mixup = LogMixupExp(n_mels=n_mels, **bank)  # type: ignore[arg-type]
        self.mixup = mixup if mixup_ratio > 0 and mixing != "none" else None
        self.resize_crop = RandomResizeCrop(
            freq_scale=freq_scale, time_scale=time_scale, virtual_crop=virtual_crop
        )
        self.fader = RandomLinearFader(linear_gain)
        self.masks = SpecAugment(freq_masks, freq_mask_width, time_masks, time_mask_width)

    def plain(self, batch: View) -> View:
        """Return the crops normalised and not augmented."""
        return View(self.normalisation(batch.log_mel), batch.spans)

    @torch.no_grad()
    def forward(
        self, batch: View, n_views: int, generator: torch.Generator, n_crops: int = 1
    ) -> tuple[View, ...]:
        """Return independently augmented views of each clip, and remember the crops.

        Args:
            batch: Log-mel crops in nats, (n_crops * B, 1, F, T), with their spans.
            n_views: How many views to make.
            generator: Source of randomness, on the batch's device.
            n_crops: Crops of each clip; view v is made from crop v modulo ``n_crops``.

        Returns:
            ``n_views`` views, each (B, 1, F, T). A mixed view keeps the spans of its own crop.
        """
        plain = self.plain(batch)
        clusters = self._clusters(batch)
        size = len(plain.log_mel) // n_crops
        views = []
        for number in range(n_views):
            first = number % n_crops * size
            crop = slice(first, first + size)
            log_mel = self._mixed(plain.log_mel[crop], clusters[crop], generator)
            view = self.resize_crop(View(log_mel, plain.spans[crop]), generator)
            views.append(self.masks(self.fader(view, generator), generator))
        self._remember(plain.log_mel, clusters)
        return tuple(views)

    def _clusters(self, batch: View) -> Tensor:
        """Return the cluster of each crop, (B,); without k-mix there is one cluster, 0."""
        if isinstance(self.mixup, KMix):
            return self.mixup.nearest(batch)
        return torch.zeros(len(batch.spans), dtype=torch.int64, device=batch.spans.device)

    def _mixed(self, log_mel: Tensor, clusters: Tensor, generator: torch.Generator) -> Tensor:
        mixed: Tensor = log_mel
        if isinstance(self.mixup, KMix):
            mixed = self.mixup(log_mel, clusters, generator)
        elif self.mixup is not None:
            mixed = self.mixup(log_mel, generator)
        return mixed

    def _remember(self, log_mel: Tensor, clusters: Tensor) -> None:
        """Remember the crops of all processes, so that all of them have the same bank."""
        if isinstance(self.mixup, KMix):
            self.mixup.remember(gather_rows(log_mel), gather_rows(clusters))
        elif self.mixup is not None:
            self.mixup.remember(gather_rows(log_mel))

    def extra_repr(self) -> str:
        """Return the parameters for the log."""
        fader = f", {self.fader!r}" if self.fader.gain else ""  # of old runs: no new training
        masks = f", {self.masks!r}" if self.masks.active else ""
        return f"{self.resize_crop!r}{fader}{masks}"


def _checked(centroids: Tensor | None, n_mels: int) -> Tensor:
    """Return the centroids of k-mix if they fit the crops."""
    if centroids is None:
        raise UserError(
            "mixing='k_mix' needs k_mix_centroids: centroids of the training clips' time-means, "
            "as unfused.views.fit_centroids finds them; or set mixing to 'mixup'"
        )
    if centroids.shape[1:] != (n_mels,):
        raise UserError(
            f"k_mix_centroids of shape {tuple(centroids.shape)} must be (K, {n_mels}), one value "
            "for each mel band of the crops; fit them on log-mels of this front-end"
        )
    return centroids
