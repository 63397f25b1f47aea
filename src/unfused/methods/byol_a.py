"""BYOL-A: predict a slowly moving copy of oneself from another augmentation of the same crop."""

from typing import ClassVar

from torch import Tensor

from ..losses.byol import byol_loss
from .method import LossAndMetrics, Views
from .momentum import OnlineTarget


class BYOLA(OnlineTarget):
    """BYOL for Audio (Niizumi et al., arXiv 2103.06695; version 2: arXiv 2204.07402).

    From view a the online network predicts the target network's projection of view b, and the other
    way round; both losses are added. There are no negatives: what keeps the embedding from
    collapsing is that the target lags behind and has no predictor. Views: mixup and random resize
    crop, of version 2 also a random linear fader (``linear_gain``). The encoder is version 1's.
    """

    name: ClassVar[str] = "byol_a"

    def forward(self, views: Views, clip_ids: Tensor) -> LossAndMetrics:
        """See :meth:`Method.forward`; ``target_cosine`` is between predictions and targets."""
        branches, health = self.branches(views)
        loss = byol_loss(*branches)
        value = loss.detach()
        return loss, {"loss": value, "target_cosine": 1.0 - value / 4.0, **health}
