"""DeLoRes-S: two views of a clip agree in every dimension, and no dimension repeats another.

(Ghosh, Seth, Katta, Umesh: DeLoRes, arXiv 2203.13628.) The loss is Barlow Twins'. In the official
code the learning rate's step starts anew in every epoch, so that its warm-up never ends; ours is
the paper's schedule.
"""

from typing import ClassVar

from torch import Tensor, nn

from ..core.distributed import gather_rows
from ..core.errors import must_be
from ..encoders.encoder import Encoder
from ..encoders.projector import Projector
from ..losses.barlow_twins import correlation_health, cross_correlation, redundancy_reduction
from ..losses.collapse import embedding_health
from .method import LossAndMetrics, Method, Views


class DeLoReSS(Method):
    """Barlow Twins on the projections of two views; no negatives, no teacher.

    The head is dropout, Linear, batch norm, ReLU, Linear; the batch norm without weights at its end
    is the first step of :func:`~unfused.losses.barlow_twins.barlow_twins`. Batch norm sees each
    view alone.

    Args:
        dropout: Between encoder and projector (official code: 0.5; the paper gives no number).
        projector_hidden: Width of the projector's hidden layers (paper: 8192; LAPE code: 2048).
        projector_layers: Number of hidden layers (paper: 1; LAPE code: 2).
        projector_dim: Dimension D of the projections (paper: 8192; LAPE code: 2048).
        redundancy_weight: Weight lambda of the entries off the diagonal (paper: 0.0051; LAPE code:
            1, as it multiplies both terms by 5e-5).
        loss_scale: Factor of the whole loss (paper: 1; LAPE code: 5e-5 / 32).
        crop_frames: Length of a crop (paper: 96 frames of 10 ms).

    Raises:
        UserError: A number is out of range.
    """

    name: ClassVar[str] = "delores_s"
    graphable = True

    def __init__(
        self,
        encoder: Encoder,
        *,
        dropout: float = 0.5,
        projector_hidden: int = 8192,
        projector_layers: int = 1,
        projector_dim: int = 8192,
        redundancy_weight: float = 0.0051,
        loss_scale: float = 1.0,
        crop_frames: int = 96,
    ) -> None:
        super().__init__()
        must_be("in [0, 1)", dropout=dropout)
        must_be("0 or positive", redundancy_weight=redundancy_weight)
        must_be("positive", loss_scale=loss_scale)
        self.encoder, self.n_views, self.crop_frames = encoder, 2, crop_frames
        self.redundancy_weight, self.loss_scale = redundancy_weight, loss_scale
        self.dropout = nn.Dropout(dropout)
        self.projector = Projector(
            inputs=encoder.dim, hidden=projector_hidden, outputs=projector_dim,
            hidden_layers=projector_layers, bias=False,
        )  # fmt: skip

    def forward(self, views: Views, clip_ids: Tensor) -> LossAndMetrics:
        """See :meth:`Method.forward`.

        After a collapse ``correlation`` is 0, even where dropout keeps the projections apart.
        """
        projections = [self.projector(self.dropout(self.encoder(*view))) for view in views]
        z_a, z_b = (gather_rows(each.float()) for each in projections)  # (B, projector_dim)
        correlation = cross_correlation(z_a, z_b)
        loss = redundancy_reduction(correlation, self.redundancy_weight, self.loss_scale)
        health = correlation_health(correlation) | embedding_health(z_a)
        return loss, {"loss": loss.detach(), **health}
