"""From a batch of crops to the augmented views a method trains on."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from ..core.distributed import gather_rows
from ..core.errors import UserError
from ..encoders.encoder import band_means
from .effects import random_linear_fade, spec_augment
from .k_mix import KMix
from .mixup import LogMixupExp
from .random_resize_crop import random_resize_crop
from .settings import MethodViewSettings
from .view import View

PLAIN_VIEWS: Mapping[str, Any] = {"mixing": "none", "freq_scale": (1, 1), "time_scale": (1, 1)}
"""Arguments of :class:`ViewMaker` with which it only normalises."""


class ViewMaker(nn.Module):
    """Normalise, then mix and resize-crop each view: the augmentation of every LAPE method.

    The order and the defaults are BYOL-A's (arXiv 2103.06695) as LAPE, DECAR-v2 and UnFuSeD use
    them; SLICER (arXiv 2211.01519) has k-mix in place of mixup. (LAPE's code applies mixup first
    and k-mix after the crop; here k-mix comes before it, as in the paper, and alone.)

    Args:
        mean: Mean of the training set's log-mels, in nats, all mel bands together.
        std: Their standard deviation.
        n_mels: Mel bands F of a crop.
        crop_frames: Frames T of a crop.
        k_mix_centroids: Of k-mix: centroids of un-normalised time-mean log-mels, (K, F).
        **views: Fields of :class:`~unfused.views.settings.MethodViewSettings`.

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
        k_mix_centroids: Tensor | None = None,
        **views: Any,
    ) -> None:
        super().__init__()
        if not (isfinite(mean) and isfinite(std) and std > 0):
            raise UserError(
                f"mean={mean!r}, std={std!r} are no statistics of a training set: both must be "
                "finite and std positive; digital silence alone has no spread, so check the audio"
            )
        self.how = how = MethodViewSettings(**views)
        self.mean, self.std = float(mean), float(std)
        self.clip_normalisation = how.clip_normalisation
        mixup: LogMixupExp | None = None
        if how.mixing == "k_mix":
            mixup = KMix(how, n_mels, crop_frames, k_mix_centroids)
        elif how.mixing == "mixup":
            mixup = LogMixupExp(how, n_mels, crop_frames)
        self.mixup = mixup if how.mixup_ratio else None

    def normalised(self, batch: View) -> View:
        """Return the crops normalised by the training set's statistics; so the bank keeps them."""
        return View((batch.log_mel.float() - self.mean) / self.std, batch.spans)

    def plain(self, batch: View) -> View:
        """Return the crops as the network takes them, not augmented."""
        return self._levelled(self.normalised(batch))

    def _levelled(self, view: View) -> View:
        """Take away, if wanted, what colours a whole recording (room, microphone, distance)."""
        if not self.clip_normalisation:
            return view
        return View(view.log_mel - band_means(*view)[:, None, :, None], view.spans)

    def augmented(self, view: View, generator: torch.Generator) -> View:
        """Return mixed crops resized, faded and masked."""
        view = random_resize_crop(view, self.how, generator)
        view = random_linear_fade(view, self.how.linear_gain, generator)
        return spec_augment(self._levelled(view), self.how, generator)

    @torch.no_grad()
    def forward(
        self, batch: View, n_views: int, generator: torch.Generator, n_crops: int = 1
    ) -> tuple[View, ...]:
        """Return independently augmented views of each clip, (B, 1, F, T), and remember the crops.

        The batch has crops in nats, (n_crops * B, 1, F, T); view v is made from a clip's crop v
        modulo ``n_crops``. The generator is on its device.
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
            views.append(self.augmented(view, generator))
        if self.mixup is not None and clusters is not None:  # all processes have the same bank
            self.mixup.remember(View(*map(gather_rows, normal)), gather_rows(clusters))
        return tuple(views)

    def extra_repr(self) -> str:
        """Return the parameters for the log and for the mark of a training."""
        return f"mean={self.mean!r}, std={self.std!r}, {self.how!r}"
