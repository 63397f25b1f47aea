"""Momentum teachers: copies of a network that follow it as an exponential moving average."""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..core.errors import UserError

M = TypeVar("M", bound=nn.Module)


def momentum_copy(online: M) -> M:
    """Return a copy of a network that gets no gradient and follows by :func:`follow`.

    Policy for batch norm: in training mode the copy normalises with the statistics of its own
    batch, as in MoCo and BYOL, but never updates its running averages itself; these follow the
    online network's, like the weights. So in evaluation mode the copy is the average of the
    online network in every number it holds.

    Args:
        online: The network to copy.
    """
    copy = deepcopy(online).requires_grad_(False)
    copy.zero_grad(set_to_none=True)
    for module in copy.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = 0.0
    return copy


@torch.no_grad()
def follow(teacher: nn.Module, online: nn.Module, momentum: float) -> None:
    """Move a momentum copy towards its network: ``teacher = m * teacher + (1 - m) * online``.

    Parameters and floating-point buffers (batch norm's running averages) are averaged, all in a
    few kernel launches; counters are copied.

    Args:
        teacher: Made by :func:`momentum_copy`.
        online: The network it was made from.
        momentum: Share m that the teacher keeps, in [0, 1].

    Raises:
        UserError: ``momentum`` is outside [0, 1], or the weights are kept in half precision.
    """
    if not 0.0 <= momentum <= 1.0:
        raise UserError(f"momentum={momentum} must be in [0, 1]")
    mine, others = _state(teacher), _state(online)
    averaged = [(m, o) for m, o in zip(mine, others, strict=True) if m.is_floating_point()]
    for half in (m for m, _ in averaged if m.element_size() < 4):
        raise UserError(
            f"a momentum copy in {str(half.dtype).removeprefix('torch.')} stands still, because a "
            "small step of its average is less than half a unit in the last place; keep the "
            "weights in float32 and compute under autocast"
        )
    for m, o in zip(mine, others, strict=True):
        if not m.is_floating_point():
            m.copy_(o)
    copies, originals = [m for m, _ in averaged], [o for _, o in averaged]
    torch._foreach_lerp_(copies, originals, weight=1.0 - momentum)


def _state(module: nn.Module) -> list[Tensor]:
    return [*(parameter.data for parameter in module.parameters()), *module.buffers()]
