"""One step of the optimiser: precision, micro-batches, gradients of all processes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ..methods.method import Method
from ..views.view import View
from .optimisers import create
from .precision import autocast
from .replicas import Replicas
from .schedule import learning_rate
from .settings import TrainingSettings

Views = tuple[View, ...]


class Stepper:
    """Optimiser, loss scaling and learning rate of one training; nothing waits for the device.

    (But with lars in float16, whose step the host can only leave out if it knows of the overflow.)

    Args:
        method: What is trained; on its device.
        settings: With what.
        dtype: Precision of the forward pass.
        total: Steps of the whole training.
        replicas: The method in the other processes.
    """

    def __init__(
        self,
        method: Method,
        settings: TrainingSettings,
        dtype: torch.dtype,
        total: int,
        replicas: Replicas,
    ) -> None:
        self.method, self.settings, self.dtype, self.total = method, settings, dtype, total
        self.replicas = replicas
        self.forward = torch.compile(method) if settings.compile else method
        self.optimiser = create(
            settings.optimiser,
            method.parameters(),
            lr=settings.learning_rate,
            bias_lr=settings.bias_learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
        # Float16 has no room for small gradients; off, it passes everything through.
        self.scaler = torch.amp.GradScaler(replicas.device.type, enabled=dtype == torch.float16)

    def take(self, step: int, views: Views, clip_ids: Tensor) -> dict[str, Tensor]:
        """Take step ``step`` with a batch and return its metrics, ``loss`` among them."""
        self.optimiser.zero_grad(set_to_none=True)
        metrics = self._backward(views, clip_ids)
        self.replicas.average_gradients()
        if self.settings.gradient_clip is not None:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.method.parameters(), self.settings.gradient_clip)
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate(step, group["peak"])
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.replicas.average_batch_norm()
        self.method.after_step(step)
        return metrics

    def learning_rate(self, step: int, peak: float | None = None) -> float:
        """Return the learning rate of a step, for a peak other than the settings' if given."""
        settings = self.settings
        peak = settings.learning_rate if peak is None else peak
        warmup = round(settings.warmup * self.total)
        return learning_rate(step, self.total, warmup, peak, settings.schedule)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs, beside the method."""
        return {"optimiser": self.optimiser.state_dict(), "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])

    def _backward(self, views: Views, clip_ids: Tensor) -> dict[str, Tensor]:
        """Fill the gradients and return the metrics, both means over the micro-batches."""
        means: dict[str, Tensor] = {}
        for share, part, ids in micro_batches(views, clip_ids, self.settings.accumulate):
            with autocast(clip_ids.device, self.dtype):
                loss, metrics = self.forward(part, ids)
            self.scaler.scale(loss * share).backward()
            for name, value in {**metrics, "loss": loss.detach()}.items():
                means[name] = means[name] + share * value if name in means else share * value
        return means


def micro_batches(
    views: Views, clip_ids: Tensor, accumulate: int
) -> Iterator[tuple[float, Views, Tensor]]:
    """Split a batch into ``accumulate`` nearly equal parts of at least two clips.

    Args:
        views: Views of the same B crops.
        clip_ids: Their clips, (B,).
        accumulate: How many parts; fewer if the batch is too small.

    Yields:
        Each part's share of the batch, its views and its clips.
    """
    n_clips = len(clip_ids)
    n_parts = max(1, min(accumulate, n_clips // 2))
    bounds = [number * n_clips // n_parts for number in range(n_parts + 1)]
    for first, end in pairwise(bounds):
        part = tuple(View(*(tensor[first:end] for tensor in view)) for view in views)
        yield (end - first) / n_clips, part, clip_ids[first:end]
