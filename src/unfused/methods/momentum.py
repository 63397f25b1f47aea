"""Methods with a momentum teacher: what BYOL-A and SELFIE, and what SLICER and DeLoRes-M share."""

from __future__ import annotations

from math import cos, pi
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..core.distributed import gather_rows
from ..core.errors import UserError
from ..encoders.encoder import Encoder
from ..encoders.momentum import follow, momentum_copy
from ..encoders.projector import Projector
from ..losses.collapse import embedding_health
from ..views.normalisation import post_normalisation
from ..views.view import View
from .method import Method
from .negatives_queue import NegativesQueue


class MomentumMethod(Method):
    """A student, which is trained, and a teacher, the moving average of its encoder and projector.

    A subclass makes ``projector`` and then calls :meth:`add_teacher`.

    Args:
        encoder: The student's encoder, which is kept.
        momentum: Share of itself that the teacher keeps at each step.
        momentum_end: The same at the last step, reached along half a cosine (BYOL: 1, so that the
            teacher comes to rest); None: ``momentum`` throughout.
        crop_frames: Length of a crop.

    Raises:
        UserError: A number is out of range.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        momentum: float,
        momentum_end: float | None = None,
        crop_frames: int = 96,
    ) -> None:
        super().__init__()
        for name, value in (("momentum", momentum), ("momentum_end", momentum_end)):
            if value is not None and not 0.0 <= value <= 1.0:
                raise UserError(f"{name}={value} must be in [0, 1]; the papers' are 0.99 and more")
        self.n_views, self.crop_frames = 2, crop_frames
        self.momentum = momentum
        self.momentum_end = momentum if momentum_end is None else momentum_end
        self.encoder = encoder
        self.projector: Projector

    def add_teacher(self) -> None:
        """Make the teacher, a copy of encoder and projector as they are now."""
        self.teacher_encoder = momentum_copy(self.encoder)
        self.teacher_projector = momentum_copy(self.projector)

    def momentum_at(self, progress: float) -> float:
        """Return the momentum when a share of the training is done (arXiv 2006.07733, sec. 3.2)."""
        way = (1 - cos(pi * progress)) / 2
        return self.momentum + way * (self.momentum_end - self.momentum)

    def after_step(self, step: int) -> None:
        """Move the teacher after the student."""
        momentum = self.momentum_at(self.progress)
        follow(self.teacher_encoder, self.encoder, momentum)
        follow(self.teacher_projector, self.projector, momentum)


class Branches(NamedTuple):
    """What both networks make of two views of a batch, the rows of all processes.

    Attributes:
        prediction_a: Online network's prediction from view a, (B, D).
        prediction_b: The same from view b.
        target_a: Target network's projection of view a, (B, D), without gradient.
        target_b: The same of view b.
    """

    prediction_a: Tensor
    prediction_b: Tensor
    target_a: Tensor
    target_b: Tensor


class OnlineTarget(MomentumMethod):
    """Online encoder, projector and predictor beside a target encoder and projector.

    The target is the teacher; it has no predictor and gets no gradient (BYOL, arXiv 2006.07733).
    Projector and predictor are Linear, batch norm, ReLU, Linear. Each view passes alone through
    each network, so batch norm sees its statistics alone.

    Args:
        encoder: What is trained.
        projector_hidden: Hidden width of projector and predictor (BYOL-A's code: 4096).
        projector_dim: Output dimension of both (BYOL-A's code: 256).
        momentum: Share of itself that the target keeps at every step (BYOL-A's code: 0.99).
        post_normalisation: Standardise the augmented batch, as BYOL-A does.
        **shared: See :class:`MomentumMethod`.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        projector_hidden: int = 4096,
        projector_dim: int = 256,
        momentum: float = 0.99,
        post_normalisation: bool = True,
        **shared: Any,
    ) -> None:
        super().__init__(encoder, momentum=momentum, **shared)
        self.post_normalisation = post_normalisation
        widths: Any = {"hidden": projector_hidden, "outputs": projector_dim}
        self.projector = Projector(inputs=encoder.dim, **widths)
        self.predictor = Projector(inputs=projector_dim, **widths)
        self.add_teacher()

    def branches(self, views: tuple[View, ...]) -> tuple[Branches, dict[str, Tensor]]:
        """Return predictions and targets of two views, and the health of view a's projection."""
        if self.post_normalisation:
            views = post_normalisation(views)
        z_a, z_b = (self.projector(self.encoder(*view)) for view in views)
        with torch.no_grad():
            targets = [self.teacher_projector(self.teacher_encoder(*view)) for view in views]
        rows = (self.predictor(z_a), self.predictor(z_b), *targets)
        return Branches(*(gather_rows(part.float()) for part in rows)), embedding_health(z_a)


class MomentumContrast(MomentumMethod):
    """The student's queries are contrasted with the teacher's keys, past ones being the negatives.

    (MoCo, arXiv 1911.05722.) ``forward`` of a subclass appends the step's keys to ``new_keys``.

    Args:
        encoder: The student's encoder, which is kept.
        queue_size: Keys in the queue.
        momentum: Share of itself that the teacher keeps at each step (official code: 0.999).
        temperature: Of the instance contrast (official code: 0.07).
        projector_hidden: Hidden width of the instance head (our choice; unknown).
        projector_layers: Hidden layers of the instance head, ReLU without batch norm (official
            code: 0, a single linear layer; MoCo-v2 and the figure in SLICER's paper: 1).
        projector_dim: Dimension of the keys (official code: 128).
        **shared: See :class:`MomentumMethod`.
    """

    def __init__(
        self,
        encoder: Encoder,
        queue_size: int,
        *,
        momentum: float = 0.999,
        temperature: float = 0.07,
        projector_hidden: int = 2048,
        projector_layers: int = 1,
        projector_dim: int = 128,
        **shared: Any,
    ) -> None:
        super().__init__(encoder, momentum=momentum, **shared)
        if not temperature > 0.0:
            raise UserError(f"temperature={temperature} must be positive")
        self.temperature = temperature
        self.projector = Projector(
            inputs=encoder.dim,
            hidden=projector_hidden,
            outputs=projector_dim,
            hidden_layers=projector_layers,
            batch_norm=False,
        )
        self.add_teacher()
        self.queue = NegativesQueue(queue_size, projector_dim)
        self.new_keys: list[Tensor] = []  # of each forward pass before after_step

    def after_step(self, step: int) -> None:
        """Enqueue the keys of the step's forward passes; move the teacher after the student."""
        for keys in self.new_keys:
            self.queue.enqueue(keys)
        self.new_keys = []
        super().after_step(step)
