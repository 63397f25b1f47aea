"""What SLICER and DeLoRes-M share: a student whose queries meet a momentum teacher's keys."""

from __future__ import annotations

from torch import Tensor

from ..core.errors import UserError
from ..encoders.encoder import Encoder
from ..encoders.momentum import follow, momentum_copy
from ..encoders.projector import Projector
from .method import Method
from .negatives_queue import NegativesQueue


class MomentumContrast(Method):
    """Encoder and projector beside a momentum copy of both, whose past keys are the negatives.

    (MoCo, arXiv 1911.05722.) A subclass first makes what else it trains, then calls
    :meth:`add_teacher`; its ``forward`` appends the step's keys to ``_new_keys``.

    Args:
        encoder: The student's encoder, which is kept.
        projector_hidden: Hidden width of the projector.
        projector_layers: Its hidden layers, ReLU without batch norm.
        projector_dim: Dimension of the keys.
        momentum: Share of itself that the teacher keeps at each step.
        temperature: Of the instance contrast.
        crop_frames: Length of a crop.

    Raises:
        ValueError: A number is out of range.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        projector_hidden: int,
        projector_layers: int,
        projector_dim: int,
        momentum: float,
        temperature: float,
        crop_frames: int,
    ) -> None:
        super().__init__()
        if not 0.0 <= momentum <= 1.0:
            raise UserError(f"momentum={momentum} must be in [0, 1]; the official code's is 0.999")
        if not temperature > 0.0:
            raise UserError(f"temperature={temperature} must be positive")
        self.n_views, self.crop_frames = 2, crop_frames
        self.momentum, self.temperature = momentum, temperature
        self.encoder = encoder
        self.projector = Projector(
            inputs=encoder.dim,
            hidden=projector_hidden,
            outputs=projector_dim,
            hidden_layers=projector_layers,
            batch_norm=False,
        )

    def add_teacher(self, queue_size: int, projector_dim: int) -> None:
        """Make the teacher and the queue of its keys."""
        self.teacher_encoder = momentum_copy(self.encoder)
        self.teacher_projector = momentum_copy(self.projector)
        self.queue = NegativesQueue(queue_size, projector_dim)
        self._new_keys: list[Tensor] = []  # of each forward pass before after_step

    def after_step(self, step: int) -> None:
        """Enqueue the keys of the step's forward passes; move the teacher after the student."""
        for keys in self._new_keys:
            self.queue.enqueue(keys)
        self._new_keys = []
        follow(self.teacher_encoder, self.encoder, self.momentum)
        follow(self.teacher_projector, self.projector, self.momentum)
