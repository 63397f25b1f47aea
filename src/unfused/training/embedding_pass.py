"""Embeddings of every training clip at the start of an epoch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..core.distributed import join_rows
from ..methods.method import Embed, Method
from ..views.make_views import ViewMaker
from ..views.view import View
from .batches import CropSource
from .precision import autocast


def embedding_pass(
    method: Method,
    source: CropSource,
    views: ViewMaker,
    device: torch.device,
    dtype: torch.dtype,
    epoch: int,
) -> Embed:
    """Return the ``embed`` that :meth:`Method.start_epoch` gets.

    It shows the method one random crop of every clip, normalised and not augmented, as each of its
    ``n_views`` views, in evaluation mode and without gradient. The crops are a function of the
    source's seed and the epoch. Several processes share the clips and all get all embeddings.

    Args:
        method: The method; left in evaluation mode.
        source: The clips.
        views: Normalises them.
        device: Where the method is.
        dtype: Precision of its forward pass; the embeddings come as float32.
        epoch: The epoch that starts.
    """

    @torch.no_grad()
    def embed(function: Callable[[tuple[View, ...]], Tensor]) -> Tensor:
        method.eval()
        rows, clips = [], []
        for clip_ids, crops in source.sweep("embed", epoch):
            plain = views.plain(on_device(crops, device))
            with autocast(device, dtype):
                rows.append(function((plain,) * method.n_views).float())
            clips.append(clip_ids)
        return join_rows(torch.cat(rows), torch.cat(clips), source.n_clips)

    return embed


def on_device(view: View, device: torch.device) -> View:
    """Return the view on ``device``, itself if it is there."""
    return View(*(part.to(device, non_blocking=True) for part in view))
