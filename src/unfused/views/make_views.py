"""From a batch of crops to the augmented views a method trains on."""

from __future__ import annotations

import torch
from torch import nn

from .log_mixup_exp import LogMixupExp
from .normalisation import Normalisation
from .random_resize_crop import RandomResizeCrop, Range
from .view import View


class ViewMaker(nn.Module):
    """Normalise, then mix up and resize-crop each view: the augmentation of every LAPE method.

    The order and the defaults are BYOL-A's (arXiv 2103.06695) as LAPE, DECAR-v2 and UnFuSeD use
    them. The mixup bank lies in buffers, so ``state_dict()`` is whole. ``mixup_ratio=0`` with both
    scales (1, 1) only normalises.

    Args:
        mean: Mean of the training set's log-mels.
        std: Their standard deviation.
        n_mels: Mel bands F of a crop.
        crop_frames: Frames T of a crop.
        mixup_ratio: Largest share of the background; 0 switches mixup off.
        mixup_bank: Past crops kept as backgrounds.
        freq_scale: Range of the box height of the random resize crop.
        time_scale: Range of its width.
        virtual_crop: Canvas of the random resize crop, relative height and width.

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
        mixup_ratio: float = 0.4,
        mixup_bank: int = 2048,
        freq_scale: Range = (0.6, 1.5),
        time_scale: Range = (0.6, 1.5),
        virtual_crop: Range = (1.0, 1.5),
    ) -> None:
        super().__init__()
        self.normalisation = Normalisation(mean=mean, std=std)
        mixup = LogMixupExp(
            ratio=mixup_ratio, bank_size=mixup_bank, n_mels=n_mels, crop_frames=crop_frames
        )
        self.mixup = mixup if mixup_ratio > 0 else None
        self.resize_crop = RandomResizeCrop(
            freq_scale=freq_scale, time_scale=time_scale, virtual_crop=virtual_crop
        )

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
        size = len(plain.log_mel) // n_crops
        crops = [View(*(part[i * size :][:size] for part in plain)) for i in range(n_crops)]
        views = []
        for number in range(n_views):
            log_mel, spans = crops[number % n_crops]
            if self.mixup is not None:
                log_mel = self.mixup(log_mel, generator)
            views.append(self.resize_crop(View(log_mel, spans), generator))
        if self.mixup is not None:
            self.mixup.remember(plain.log_mel)
        return tuple(views)

    def extra_repr(self) -> str:
        """Return the parameters for the log."""
        return repr(self.resize_crop)
