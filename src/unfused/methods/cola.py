"""COLA: two crops of a clip belong together, crops of different clips do not."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core.distributed import gather_rows
from ..core.errors import must_be
from ..encoders.encoder import Encoder
from ..encoders.projector import Projector
from ..losses.bilinear_contrast import bilinear_contrast
from ..losses.collapse import embedding_health
from ..views.make_views import PLAIN_VIEWS
from ..views.view import View
from .method import LossAndMetrics, Method, Views


class COLA(Method):
    """Contrastive learning of audio (Saeed, Grangier, Zeghidour: COLA, arXiv 2010.10915).

    The views are two independent crops of each clip, not augmented further. Their similarity is
    bilinear, ``x^T W y`` with a learned W; for every clip the second crops of all other clips of
    the batch, on all processes, are the negatives. As in the official code batch norm sees both
    crops as one batch. Its encoder, an EfficientNet-B0, and its faint noise (0.001 of the clip's
    norm) on the second crop's waveform have no counterpart here.

    Args:
        projector_dim: Dimension of the projections (paper: 512).
        bilinear_std: Standard deviation of W's first entries (our choice: 0.005; official code:
            0.05, with which training begins by making all projections alike).
        crop_frames: Length of a crop (paper: 960 ms; official code: 1 s).

    Raises:
        UserError: A number is out of range.
    """

    name: ClassVar[str] = "cola"
    graphable = True
    usual_views: ClassVar[Mapping[str, Any]] = PLAIN_VIEWS

    def __init__(
        self,
        encoder: Encoder,
        *,
        projector_dim: int = 512,
        bilinear_std: float = 0.005,
        crop_frames: int = 96,
    ) -> None:
        super().__init__()
        must_be("positive", bilinear_std=bilinear_std)
        self.encoder, self.n_views, self.n_crops, self.crop_frames = encoder, 2, 2, crop_frames
        self.projector = Projector(inputs=encoder.dim, outputs=projector_dim, hidden_layers=0)
        self.norm = nn.LayerNorm(projector_dim)
        self.bilinear = nn.Parameter(torch.randn(projector_dim, projector_dim) * bilinear_std)

    def project(self, view: View) -> Tensor:
        """Return the projections of a batch, (B, projector_dim), in (-1, 1)."""
        return self.norm(self.projector(self.encoder(*view)).float()).tanh()

    def forward(self, views: Views, clip_ids: Tensor) -> LossAndMetrics:
        """See :meth:`Method.forward`; ``found`` is how often a crop finds its clip's other one."""
        both = View(*map(torch.cat, zip(*views, strict=True)))
        anchors, positives = self.project(both).chunk(2)
        loss, found = bilinear_contrast(gather_rows(anchors), gather_rows(positives), self.bilinear)
        return loss, {"loss": loss.detach(), "found": found, **embedding_health(anchors)}
