"""Mixup of labelled crops: the sound of two clips, and the share of each label in the target."""

from __future__ import annotations

import torch
from torch import Tensor

from .mixup import log_mixup_exp
from .view import View, union


def draw_mixup(n: int, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw a partner and its share for each of ``n`` crops.

    Args:
        n: Number of crops.
        alpha: Of the distribution Beta(alpha, alpha) of the shares; small: nearly unmixed.
        generator: Source of randomness, on the CPU.

    Returns:
        Share of the partner, (n,) in [0, 1], and the crop that is the partner, (n,) int64: the
        partners are a permutation of the crops.
    """
    concentration = torch.full((2, n), float(alpha))
    gamma = torch._standard_gamma(concentration, generator=generator)
    partner = torch.randperm(n, generator=generator)
    total = gamma.sum(dim=0)
    # with a tiny alpha both can round to 0: then the crop stays as it is
    return torch.where(total > 0, gamma[0] / total.clamp(min=1e-30), 0.0), partner


def mix_labelled(
    view: View, targets: Tensor, weight: Tensor, partner: Tensor
) -> tuple[View, Tensor]:
    """Mix each crop with its partner, and their targets by the same shares.

    Zhang et al. 2018 (arXiv 1710.09412), eq. 1, on the exponentials of normalised log-mels,
    as the log-mixup-exp of BYOL-A does. The real audio of a mixed crop is that of both.

    Args:
        view: Normalised log-mels, (B, 1, F, T).
        targets: Share of each class, (B, K).
        weight: Share of the partner, (B,).
        partner: Crop that each crop is mixed with, (B,) int64.

    Returns:
        The mixed view and targets, same shapes.
    """
    log_mel = log_mixup_exp(view.log_mel, view.log_mel[partner], weight)
    mixed = torch.lerp(targets, targets[partner], weight[:, None])
    return View(log_mel, union(view.spans, view.spans[partner])), mixed
