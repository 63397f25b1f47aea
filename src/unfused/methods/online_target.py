"""What BYOL-A and SELFIE share: an online network that predicts its own moving average."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..core.distributed import gather_rows
from ..core.errors import UserError
from ..encoders.encoder import Encoder
from ..encoders.momentum import follow, momentum_copy
from ..encoders.projector import Projector
from ..losses.collapse import embedding_health
from ..views.post_normalisation import post_normalisation
from ..views.view import View
from .method import Method


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


class OnlineTarget(Method):
    """Online encoder, projector and predictor beside a target encoder and projector.

    The target is a momentum copy of the online encoder and projector; it has no predictor and gets
    no gradient (BYOL, arXiv 2006.07733). Projector and predictor are Linear, batch norm, ReLU,
    Linear. Each view passes alone through each network, so batch norm sees its statistics alone.

    Args:
        encoder: What is trained.
        projector_hidden: Hidden width of projector and predictor (BYOL-A's code: 4096).
        projector_dim: Output dimension of both (BYOL-A's code: 256).
        momentum: Share of itself that the target keeps at every step (BYOL-A's code: 0.99).
        post_normalisation: Standardise the augmented batch, as BYOL-A does.
        crop_frames: Length of a crop (BYOL-A: 0.95 s, 96 frames of 10 ms).

    Raises:
        ValueError: A number is out of range.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        projector_hidden: int = 4096,
        projector_dim: int = 256,
        momentum: float = 0.99,
        post_normalisation: bool = True,
        crop_frames: int = 96,
    ) -> None:
        super().__init__()
        if not 0.0 <= momentum <= 1.0:
            raise UserError(f"momentum={momentum} must be in [0, 1]; the papers' is 0.99")
        self.n_views, self.crop_frames, self.momentum = 2, crop_frames, momentum
        self.post_normalisation = post_normalisation
        self.encoder = encoder
        self.projector = Projector(
            inputs=encoder.dim, hidden=projector_hidden, outputs=projector_dim
        )
        self.predictor = Projector(
            inputs=projector_dim, hidden=projector_hidden, outputs=projector_dim
        )
        self.target_encoder = momentum_copy(encoder)
        self.target_projector = momentum_copy(self.projector)

    def branches(self, views: tuple[View, ...]) -> tuple[Branches, dict[str, Tensor]]:
        """Return predictions and targets of two views, and the health of view a's projection."""
        if self.post_normalisation:
            views = post_normalisation(views)
        z_a, z_b = (self.projector(self.encoder(*view)) for view in views)
        with torch.no_grad():
            targets = [self.target_projector(self.target_encoder(*view)) for view in views]
        rows = (self.predictor(z_a), self.predictor(z_b), *targets)
        return Branches(*(gather_rows(part.float()) for part in rows)), embedding_health(z_a)

    def after_step(self, step: int) -> None:
        """Move the target towards the online network."""
        follow(self.target_encoder, self.encoder, self.momentum)
        follow(self.target_projector, self.projector, self.momentum)
