"""UnFuSeD's unsupervised fine-tuning: the deepest block teaches the shallower ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.errors import UserError, must_be_one_of
from ..losses.byol import cosine_distance
from .settings import Hint


def self_distillation_loss(
    block_logits: Sequence[Tensor],
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    block_features: Sequence[Tensor] | None = None,
    teacher_features: Tensor | None = None,
    alpha: float = 0.7,
    beta: float = 0.003,
    mse_on: Hint = "logits",
    detach_teacher: bool = True,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Self-distillation on pseudo-labels (UnFuSeD, arXiv 2303.05668).

    ``L = L_ce + alpha sum_i L_ce^i + (1 - alpha) sum_i L_kl^i + beta sum_i L_mse^i``: the teacher's
    and every block's cross entropy, the divergence of every block's prediction from the teacher's,
    and a hint. Weights as in the official code. The paper's figure draws the hint from the final
    embedding to a block's projection (``mse_on="features"``); the official code takes
    ``2 - 2 cos`` of the two logit vectors instead (``mse_on="logits"``).

    Args:
        block_logits: Prediction after each block, each (B, K).
        teacher_logits: Prediction of the full encoder, (B, K).
        labels: Pseudo-labels, (B,) int64.
        block_features: Projection of each block, each (B, D); needed for ``mse_on="features"``.
        teacher_features: Embedding of the full encoder, (B, D); needed for ``mse_on="features"``.
        alpha: Weight of the blocks' cross entropies against their divergences.
        beta: Weight of the hints.
        mse_on: What the hint compares.
        detach_teacher: Whether divergences and hints leave the teacher alone; the paper does not
            say, the official code lets their gradient through.

    Returns:
        The scalar loss, and its unweighted parts ``ce``, ``block_ce``, ``block_kl``, ``block_mse``
        (sums over blocks), detached.

    Raises:
        UserError: ``mse_on`` is unknown, or features are missing for it.
    """
    logits, teacher = [_wide(z) for z in block_logits], _wide(teacher_logits)
    targets = teacher.detach() if detach_teacher else teacher
    must_be_one_of(get_args(Hint), mse_on=mse_on)
    if mse_on == "logits":
        hints = [cosine_distance(z, targets) for z in logits]
    elif block_features is None or teacher_features is None:
        raise UserError('mse_on="features" needs block_features and teacher_features')
    else:
        aim = _wide(teacher_features.detach() if detach_teacher else teacher_features)
        hints = [F.mse_loss(_wide(features), aim) for features in block_features]
    parts = {
        "ce": F.cross_entropy(teacher, labels),
        "block_ce": torch.stack([F.cross_entropy(z, labels) for z in logits]).sum(),
        "block_kl": torch.stack([_divergence(z, targets) for z in logits]).sum(),
        "block_mse": torch.stack(hints).sum(),
    }
    blocks = alpha * parts["block_ce"] + (1 - alpha) * parts["block_kl"]
    loss = parts["ce"] + blocks + beta * parts["block_mse"]
    return loss, {name: part.detach() for name, part in parts.items()}


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Return KL(teacher || student) of softmax distributions (B, K), averaged over the batch."""
    both = F.log_softmax(student, dim=1), F.log_softmax(teacher, dim=1)
    return F.kl_div(*both, reduction="batchmean", log_target=True)


def _wide(tensor: Tensor) -> Tensor:
    """Return the tensor in at least float32; half precision is too coarse for these losses."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
