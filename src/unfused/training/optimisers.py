"""Optimisers by name, their learning rate, and LARS."""

from collections.abc import Iterable
from math import cos, pi
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import SGD, Adam, AdamW, Optimizer

from ..core.errors import UserError, must_be_one_of
from .settings import OPTIMISERS

FINAL = 1e-3
"""Where the cosine ends, relative to the peak: a thousandth, as DeLoRes (arXiv 2203.13628)."""


def learning_rate(step: int, total: int, warmup: int, base: float, kind: str = "cosine") -> float:
    """Return the learning rate of one step, a closed form of it, so that nothing needs saving.

    Over ``warmup`` steps it rises linearly to its peak ``base``, the first having ``base /
    warmup``; then it is "constant" or falls along a "cosine" until step ``total - 1``.

    >>> [round(learning_rate(step, 6, 2, 1.0), 3) for step in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.251, 0.001]
    """
    if step < warmup:
        return base * (step + 1) / warmup
    if kind == "constant":
        return base
    progress = (step - warmup) / max(total - 1 - warmup, 1)
    return base * (FINAL + (1 - FINAL) * (1 + cos(pi * min(progress, 1.0))) / 2)


def create(
    name: str, parameters: Iterable[Parameter], *, lr: float, bias_lr: float | None = None,
    momentum: float = 0.9, weight_decay: float = 0.0,
) -> Optimizer:  # fmt: skip
    """Return an optimiser over the parameters that ask for a gradient.

    adamw and lars leave vectors and scalars (biases, normalisation) out of weight decay, and lars
    out of its layer-wise scaling too; sgd and adam decay everything, as the papers' code does.
    Groups keep their learning rate as ``peak``; ``bias_lr`` is that of vectors and scalars. The
    momentum is the first beta of adam and adamw.

    Raises:
        UserError: No such optimiser, or nothing to train.
    """
    must_be_one_of(OPTIMISERS, optimiser=name)
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if not trained:
        raise UserError(
            "no parameter has requires_grad=True, so there is nothing to train: unfreeze encoder "
            "or head"
        )
    spared, peak = name in ("adamw", "lars"), lr if bias_lr is None else bias_lr
    matrices = {"params": [p for p in trained if p.ndim > 1], "peak": lr, "adapt": True}
    vectors = {"params": [p for p in trained if p.ndim <= 1], "peak": peak, "adapt": False}
    groups: list[dict[str, Any]] = [
        {**matrices, "weight_decay": weight_decay},
        {**vectors, "weight_decay": 0.0 if spared else weight_decay},
    ]
    if not spared and lr == peak:
        groups = [groups[0] | {"params": trained}]
    groups = [group for group in groups if group["params"]]
    fused = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in trained)
    if name == "lars":
        return LARS(groups, lr, momentum=momentum)
    if name == "sgd":
        return SGD(groups, lr, momentum=momentum, fused=fused)
    kind = Adam if name == "adam" else AdamW
    return kind(groups, lr, betas=(momentum, 0.999), fused=fused)


class LARS(Optimizer):
    """Layer-wise adaptive rate scaling (You, Gitman and Ginsburg 2017, arXiv 1708.03888, alg. 1).

    A layer's step is ``lr * local * (g + weight_decay * w)`` with
    ``local = trust * |w| / (|g| + weight_decay * |w|)``, smoothed by momentum. Groups with
    ``adapt=False`` (biases, normalisation) take ``local = 1``; so does a layer whose weights or
    gradients are all zero.
    """

    def __init__(
        self, parameters: Iterable[Any], lr: float, *, momentum: float = 0.9,
        weight_decay: float = 0.0, trust: float = 0.001, adapt: bool = True,
    ) -> None:  # fmt: skip
        settings = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust}
        super().__init__(parameters, {**settings, "adapt": adapt})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Take one step."""
        for group in self.param_groups:
            weights = [w for w in group["params"] if w.grad is not None]
            if not weights:
                continue
            gradients = [w.grad for w in weights]
            for w in weights:
                if "velocity" not in self.state[w]:
                    self.state[w]["velocity"] = torch.zeros_like(w)
            velocities = [self.state[w]["velocity"] for w in weights]
            updates = torch._foreach_add(gradients, weights, alpha=group["weight_decay"])
            if group["adapt"]:
                norms = torch._foreach_norm(weights), torch._foreach_norm(gradients)
                rates = [_local_rate(group, w, g) for w, g in zip(*norms, strict=True)]
                torch._foreach_mul_(updates, rates)
            torch._foreach_mul_(updates, group["lr"])
            torch._foreach_mul_(velocities, group["momentum"])
            torch._foreach_add_(velocities, updates)
            torch._foreach_sub_(weights, velocities)


def _local_rate(group: dict[str, Any], w: Tensor, g: Tensor) -> Tensor:
    """Return a layer's rate from the norms of its weights and gradient."""
    scale = (g + group["weight_decay"] * w).clamp(min=torch.finfo(w.dtype).tiny)
    return torch.where((w > 0) & (g > 0), group["trust"] * w / scale, torch.ones_like(w))
