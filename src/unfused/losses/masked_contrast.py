"""wav2vec 2.0's contrast: tell a masked frame's target from those of the clip's other frames."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.errors import must_be


def masked_contrast(
    predictions: Tensor,
    targets: Tensor,
    distractors: Tensor,
    counted: Tensor,
    temperature: float = 0.1,
) -> Tensor:
    """Return the contrastive loss of masked frames (wav2vec 2.0, arXiv 2006.11477, eq. 3).

    ``-mean_j log(exp(cos(c_j, y_j) / t) / sum_{y in {y_j} and distractors} exp(cos(c_j, y) / t))``
    over all counted frames of the batch, so a clip weighs as much as it has masked frames.
    Gradient reaches predictions and targets. Computed in at least float32; 0 if no frame counts.

    Predictions are context vectors c of each clip's masked frames, (B, M, D), targets y are as
    many. :func:`draw_distractors` says which of the clip's M targets are the K distractors of each
    frame, (B, M, K) int64, and which frames count, (B, M) bool; the others fill the tensor.

    Raises:
        ValueError: ``temperature`` is not positive.

    >>> frames = torch.eye(2)[None]
    >>> swapped = torch.tensor([[[1], [0]]])
    >>> masked_contrast(frames, frames, swapped, torch.ones(1, 2).bool(), temperature=1.0)
    tensor(0.3133)
    """
    logits = contrast_logits(predictions, targets, distractors, temperature)
    return clip_losses(logits, counted).sum() / counted.sum().clamp(min=1)


def contrast_logits(
    predictions: Tensor, targets: Tensor, distractors: Tensor, temperature: float = 0.1
) -> Tensor:
    """Return each frame's similarity to its target, first, and to its distractors, (B, M, 1 + K).

    A distractor that equals the target in every number (digital silence) is no distractor; its
    logit is -inf. The official codes do the same. Arguments are those of :func:`masked_contrast`.
    """
    must_be("positive", temperature=temperature)
    dtype = torch.promote_types(predictions.dtype, torch.float32)
    with torch.autocast(predictions.device.type, enabled=False):
        wide = targets.to(dtype)
        unit_targets = F.normalize(wide, dim=2)
        cosines = F.normalize(predictions.to(dtype), dim=2) @ unit_targets.transpose(1, 2)
        # The largest difference of two targets is zero exactly where they are the same.
        same = torch.cdist(wide.detach(), wide.detach(), p=torch.inf) == 0
    similarity = cosines / temperature  # (B, M, M)
    positive = similarity.diagonal(dim1=1, dim2=2).unsqueeze(2)
    negative = similarity.gather(2, distractors)
    negative = negative.masked_fill(same.gather(2, distractors), -torch.inf)
    return torch.cat([positive, negative], dim=2)


def clip_losses(logits: Tensor, counted: Tensor) -> Tensor:
    """Return the sum of each clip's counted losses, the positive being class 0, (B,)."""
    losses = logits.logsumexp(dim=2) - logits[..., 0]
    return losses.masked_fill(~counted, 0.0).sum(dim=1)


def draw_distractors(
    n_masked: Tensor, size: int, n_distractors: int, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Draw distractors for every masked frame from the other masked frames of its clip.

    Uniformly, with replacement, never the frame itself, never one of another clip; by a generator
    on the clips' device, or torch's global one. The masked frames of each clip, (B,) int64, come
    first among its M, the size. Returned are the K distractors' positions, (B, M, K) int64, and
    which frames count, (B, M) bool: the masked ones of clips that have at least two, because a
    single one has no distractor.
    """
    frame = torch.arange(size, device=n_masked.device)
    shape = (len(n_masked), size, n_distractors)
    uniform = torch.rand(shape, generator=generator, device=n_masked.device)
    others = (n_masked - 1).clamp(min=1)[:, None, None]
    # Rounding can carry a draw just below 1 up to the number of others itself.
    drawn = torch.minimum((uniform * others).long(), others - 1)
    drawn = drawn + (drawn >= frame[:, None])  # leave the frame itself out
    n_counted = n_masked.masked_fill(n_masked < 2, 0)
    return drawn.clamp(max=size - 1), frame < n_counted[:, None]
