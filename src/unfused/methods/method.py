"""The interface every training method implements; the loop in ``training`` knows nothing else."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from ..encoders.encoder import Encoder
from ..views.view import View

Views = tuple[View, ...]
LossAndMetrics = tuple[Tensor, dict[str, Tensor]]
Embed = Callable[[Callable[[Views], Tensor]], Tensor]
"""``embed(function)`` runs ``function`` without gradient on the views of every training clip, in
batches, and returns the rows in clip order, (n_clips, D)."""


class Method(nn.Module):
    """A training method. All of its state lives in parameters and buffers, so resume is exact.

    Its constructor takes the encoder that is trained, then keyword-only arguments. A class with a
    ``name`` in a module of this package is a self-supervised method, asked for by that name.

    Attributes:
        name: What the registry calls it.
        runtime_arguments: Constructor arguments that the data provides; all other keyword-only
            ones are hyper-parameters.
        usual_encoder: Encoder that it is meant for.
        usual_views: Arguments of the view maker that it is meant for.
        encoder: What is trained and kept.
        n_views: How many augmented views of each clip :meth:`forward` takes.
        n_crops: How many independent crops of each clip the views are made from, in turn.
        crop_frames: Length of a training crop in frames.
        progress: Share of the training that is done after the current step; set by the loop.
        graphable: Whether a step (:meth:`forward`, :meth:`after_step`) is the same on tensors that
            lie on the device, whatever step it is, so that a GPU may repeat it by itself.
    """

    name: ClassVar[str]
    runtime_arguments: ClassVar[frozenset[str]] = frozenset({"n_clips", "labels", "n_classes"})
    usual_encoder: ClassVar[str] = "audio_ntt"
    usual_views: ClassVar[Mapping[str, Any]] = {}
    encoder: Encoder
    n_views: int = 1
    n_crops: int = 1
    crop_frames: int = 96
    progress: float = 0.0
    graphable: bool = False

    def forward(self, views: Views, clip_ids: Tensor) -> LossAndMetrics:
        """Return the loss and detached metrics of one batch, scalars on the device.

        There are ``n_views`` views of the same B crops; ``clip_ids`` are the rows of their clips in
        the training set, (B,) int64. It may be called several times before :meth:`after_step`, with
        parts of the batch. In one of several processes B are that process's clips: what is written
        into buffers, or compared over the batch, comes from all of them
        (:func:`unfused.core.distributed.gather_rows`).
        """
        raise NotImplementedError

    def after_step(self, step: int) -> None:
        """Update what is not trained by gradient (EMA, queue) after optimiser step ``step``."""

    def start_epoch(self, epoch: int, embed: Embed, seed: int) -> dict[str, Tensor]:
        """Prepare epoch ``epoch`` (DECAR's prototypes); return metrics to be logged."""
        return {}
