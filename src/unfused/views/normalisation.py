"""Standardisation of crops by each of them, and of the augmented batch."""

from __future__ import annotations

import torch
from torch import Tensor

from ..core.distributed import gather_rows
from ..encoders.encoder import band_means, span_mask
from .view import View

_EPS = 1e-6


def clip_normalisation(view: View) -> View:
    """Subtract from each crop its mean in every mel band over its real frames, (B, 1, F, T).

    So what colours a whole recording (room, microphone, distance) is the same for all; padding is
    shifted along. :meth:`unfused.encoders.trained.TrainedEncoder.normalise` does it to whole clips.
    """
    return View(view.log_mel - band_means(*view)[:, None, :, None], view.spans)


@torch.no_grad()
def post_normalisation(views: tuple[View, ...]) -> tuple[View, ...]:
    """Standardise all views of a batch together, by one mean and one deviation; float32.

    Mixup and resize crop move the statistics that the first normalisation set; this repairs the
    drift (BYOL-A, arXiv 2103.06695, section III-B "post-normalisation"; its code has it in both
    versions). Only real frames count, where the code counts padding too; with several processes
    the frames of all of them. Padding is scaled along.
    """
    moments = torch.stack([_moments(view) for view in views]).sum(dim=0)
    count, total, squares = gather_rows(moments.unsqueeze(0)).sum(dim=0)
    mean = total / count
    std = (squares / count - mean.square()).clamp_min(_EPS**2).sqrt()
    return tuple(View((log_mel.float() - mean) / std, spans) for log_mel, spans in views)


def _moments(view: View) -> Tensor:
    """Return how many values the real frames hold, their sum and their sum of squares, (3,)."""
    n_mels, n_frames = view.log_mel.shape[-2:]
    real = span_mask(view.spans, n_frames, stride=1)  # (B, T)
    values = view.log_mel.float().masked_fill(~real[:, None, None], 0.0)
    return torch.stack([real.sum() * n_mels, values.sum(), values.square().sum()])
