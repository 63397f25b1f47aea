"""LARS: stochastic gradient descent with one learning rate per layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class LARS(Optimizer):
    """Layer-wise adaptive rate scaling (You, Gitman and Ginsburg 2017, arXiv 1708.03888, alg. 1).

    A layer's step is ``lr * local * (g + weight_decay * w)`` with
    ``local = trust * |w| / (|g| + weight_decay * |w|)``, smoothed by momentum. Groups with
    ``adapt=False`` (biases, normalisation) take ``local = 1``; so does a layer whose weights or
    gradients are all zero.

    Args:
        parameters: Parameters or parameter groups.
        lr: Global learning rate.
        momentum: Momentum m.
        weight_decay: Weight decay beta.
        trust: Trust coefficient eta.
        adapt: Whether a group's layers are scaled.
    """

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
        adapt: bool = True,
    ) -> None:
        super().__init__(
            parameters,
            {
                "lr": lr,
                "momentum": momentum,
                "weight_decay": weight_decay,
                "trust": trust,
                "adapt": adapt,
            },
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step; ``closure`` recomputes the loss, as in torch's optimisers."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [w for w in group["params"] if w.grad is not None]
            if weights:
                self._step_group(group, weights)
        return loss

    def _step_group(self, group: dict[str, Any], weights: list[Tensor]) -> None:
        gradients = [w.grad for w in weights if w.grad is not None]
        for w in weights:
            if "velocity" not in self.state[w]:
                self.state[w]["velocity"] = torch.zeros_like(w)
        velocities = [self.state[w]["velocity"] for w in weights]
        updates = torch._foreach_add(gradients, weights, alpha=group["weight_decay"])
        if group["adapt"]:
            torch._foreach_mul_(updates, _local_rates(group, weights, gradients))
        torch._foreach_mul_(updates, group["lr"])
        torch._foreach_mul_(velocities, group["momentum"])
        torch._foreach_add_(velocities, updates)
        torch._foreach_sub_(weights, velocities)


def _local_rates(
    group: dict[str, Any], weights: list[Tensor], gradients: list[Tensor]
) -> list[Tensor]:
    rates = []
    for w, g in zip(torch._foreach_norm(weights), torch._foreach_norm(gradients), strict=True):
        scale = g + group["weight_decay"] * w
        rate = group["trust"] * w / scale.clamp(min=torch.finfo(scale.dtype).tiny)
        rates.append(torch.where((w > 0) & (g > 0), rate, torch.ones_like(rate)))
    return rates
