"""Optimisers by name, with weight decay only where it belongs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch.nn import Parameter
from torch.optim import SGD, Adam, AdamW, Optimizer

from .lars import LARS
from .settings import OPTIMISERS


def create(
    name: str,
    parameters: Iterable[Parameter],
    *,
    lr: float,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
) -> Optimizer:
    """Return an optimiser over the parameters that ask for a gradient.

    adamw and lars leave vectors and scalars (biases, normalisation) out of weight decay, and lars
    out of its layer-wise scaling too; sgd and adam decay everything, as the papers' code does.

    Args:
        name: "sgd", "adam", "adamw" or "lars".
        parameters: The method's parameters.
        lr: Learning rate.
        momentum: Momentum of sgd and lars, first beta of adam and adamw.
        weight_decay: Strength of the decay.

    Raises:
        ValueError: No such optimiser, or nothing to train.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if not trained:
        raise ValueError(
            "the method has no parameter with requires_grad=True, so there is nothing to train; "
            "unfreeze the encoder or the head"
        )
    fused = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in trained)
    if name == "sgd":
        return SGD(trained, lr, momentum=momentum, weight_decay=weight_decay, fused=fused)
    if name in ("adam", "adamw"):
        betas = (momentum, 0.999)
        if name == "adam":
            return Adam(trained, lr, betas=betas, weight_decay=weight_decay, fused=fused)
        return AdamW(_groups(trained, weight_decay), lr, betas=betas, fused=fused)
    if name == "lars":
        return LARS(_groups(trained, weight_decay, adapt=True), lr, momentum=momentum)
    raise ValueError(f"optimiser={name!r} must be one of {list(OPTIMISERS)}")


def _groups(
    parameters: list[Parameter], weight_decay: float, **matrices: Any
) -> list[dict[str, Any]]:
    """Split into matrices and kernels, and the vectors that are neither decayed nor adapted."""
    large = [parameter for parameter in parameters if parameter.ndim > 1]
    small = [parameter for parameter in parameters if parameter.ndim <= 1]
    vectors = dict.fromkeys(matrices, False)
    groups = [
        {"params": large, "weight_decay": weight_decay, **matrices},
        {"params": small, "weight_decay": 0.0, **vectors},
    ]
    return [group for group in groups if group["params"]]
