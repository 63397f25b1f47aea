"""Ours, beside the paper's pseudo-labels: the student predicts the teacher's embedding itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..core.errors import UserError
from ..encoders.encoder import Encoder
from ..losses.byol import cosine_distance
from ..methods.method import LossAndMetrics, Method, Views
from .self_distillation import DistilledBlocks


def embedding_distillation_loss(
    predictions: Mapping[str, Tensor], targets: Tensor
) -> LossAndMetrics:
    """Distance of each head's prediction from the teacher's embedding, averaged over the heads.

    ``L = 1/H sum_h mean_i (2 - 2 cos(p_h,i , t_i))``, in [0, 4]. Of the losses that S-SONDO
    (arXiv 2604.24933) compares for the distillation of embeddings the cosine did best. Predictions
    are tap -> (B, D), targets (B, D); each head's distance comes back too, detached.

    >>> _, parts = embedding_distillation_loss({"block3": torch.eye(2)}, torch.eye(2).flip(0))
    >>> parts
    {'distance_block3': tensor(2.)}
    """
    distances = {tap: cosine_distance(guess, targets) for tap, guess in predictions.items()}
    parts = {f"distance_{tap}": distance.detach() for tap, distance in distances.items()}
    return torch.stack(list(distances.values())).mean(), parts


class EmbeddingDistillation(DistilledBlocks):
    """Linear heads on blocks and on the full encoder predict the teacher's embedding of the clip.

    ``targets`` are the teacher's embedding of each training clip, (n_clips, D) floats, whitened, so
    that the cosine counts every direction of it. ``blocks`` are taps that get a head; the last one
    always has one. The encoder is randomly initialised, and not truncated.

    Raises:
        UserError: The encoder is truncated, a block is no tap before its last, or targets are no
            finite vectors.
    """

    name: ClassVar[str] = "embedding_distillation"
    runtime_arguments = Method.runtime_arguments | {"targets"}
    targets: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        targets: Tensor,
        blocks: Sequence[str] = ("block3",),
        crop_frames: int = 96,
    ) -> None:
        super().__init__(encoder, blocks, crop_frames)
        if targets.dim() != 2 or not torch.isfinite(targets).all():
            raise UserError(
                f"targets of shape {tuple(targets.shape)} must be finite vectors, one a clip"
            )
        self.register_buffer("targets", targets.float())
        taps, width = (*self.blocks, encoder.cut), targets.shape[1]
        self.heads = nn.ModuleDict({tap: nn.Linear(encoder.dims[tap], width) for tap in taps})

    def forward(self, views: Views, clip_ids: Tensor) -> LossAndMetrics:
        """See :meth:`Method.forward`."""
        pooled = self.pooled(views)
        predictions = {tap: head(pooled[tap]) for tap, head in self.heads.items()}
        loss, parts = embedding_distillation_loss(predictions, self.targets[clip_ids])
        return loss, {"loss": loss.detach(), **parts}
