"""Optimisers by name, with weight decay only where it belongs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch.nn import Parameter
from torch.optim import SGD, Adam, AdamW, Optimizer

from ..core.errors import UserError
from .lars import LARS
from .settings import OPTIMISERS


def create(
    name: str,
    parameters: Iterable[Parameter],
    *,
    lr: float,
    bias_lr: float | None = None,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
) -> Optimizer:
    """Return an optimiser over the parameters that ask for a gradient.

    adamw and lars leave vectors and scalars (biases, normalisation) out of weight decay, and lars
    out of its layer-wise scaling too; sgd and adam decay everything, as the papers' code does.

    Args:
        name: "sgd", "adam", "adamw" or "lars".
        parameters: The method's parameters.
        lr: Learning rate; each parameter group keeps its own as ``peak``.
        bias_lr: Learning rate of vectors and scalars; None: the same.
        momentum: Momentum of sgd and lars, first beta of adam and adamw.
        weight_decay: Strength of the decay.

    Raises:
        ValueError: No such optimiser, or nothing to train.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if not trained:
        raise UserError(
            "the method has no parameter with requires_grad=True, so there is nothing to train; "
            "unfreeze the encoder or the head"
        )
    groups = _groups(trained, name, lr, lr if bias_lr is None else bias_lr, weight_decay)
    if name == "lars":
        return LARS(groups, lr, momentum=momentum)
    fused = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in trained)
    if name == "sgd":
        return SGD(groups, lr, momentum=momentum, fused=fused)
    if name in ("adam", "adamw"):
        kind = Adam if name == "adam" else AdamW
        return kind(groups, lr, betas=(momentum, 0.999), fused=fused)
    raise UserError(f"optimiser={name!r} must be one of {list(OPTIMISERS)}")


def _groups(
    parameters: list[Parameter], name: str, lr: float, bias_lr: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Split into matrices and kernels, and vectors, which some optimisers treat otherwise."""
    spared = name in ("adamw", "lars")
    if not spared and lr == bias_lr:
        return [{"params": parameters, "peak": lr, "weight_decay": weight_decay}]
    large = [parameter for parameter in parameters if parameter.ndim > 1]
    small = [parameter for parameter in parameters if parameter.ndim <= 1]
    of_large: dict[str, Any] = {"peak": lr, "weight_decay": weight_decay}
    of_small: dict[str, Any] = {"peak": bias_lr, "weight_decay": 0.0 if spared else weight_decay}
    if name == "lars":
        of_large["adapt"], of_small["adapt"] = True, False
    groups = [{"params": large, **of_large}, {"params": small, **of_small}]
    return [group for group in groups if group["params"]]
