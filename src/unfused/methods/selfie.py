"""SELFIE: BYOL-A's asymmetric pair with two losses against collapse on the predictions.

(Nguyen, Uhlich, Cardinaux: SELFIE, arXiv 2303.03717.) RECONSTRUCTION: the paper's formulas and
weights are not public to us. Its abstract and overview figure say which networks there are, what
each loss compares and where gradient flows; the formulas and weights below are our reading.
"""

from typing import Any, ClassVar, get_args

from torch import Tensor
from torch.nn import functional as F

from ..core.errors import must_be, must_be_one_of
from ..encoders.encoder import Encoder
from ..losses.byol import byol_loss
from ..losses.selfie import Decorrelation, Diversity, check_diversity, decorrelation, diversity
from .method import LossAndMetrics, Views
from .momentum import OnlineTarget


class SELFIE(OnlineTarget):
    """Alignment as in BYOL-A, diversity between samples, decorrelation between dimensions.

    ``L = L_align + diversity_weight * L_diversity + decorrelation_weight * L_decorrelation``, each
    for both views, added up; the last two on the L2-normalised online predictions alone. With both
    weights 0 this is BYOL-A. For the decorrelation unit vectors are scaled by sqrt(D), which brings
    covariances to the order of 1 in every D.

    Args:
        diversity: Which candidate; see :func:`unfused.losses.selfie.diversity`.
        diversity_weight: Its weight (our choice: 1, as alignment and uniformity in arXiv
            2005.10242).
        sharpness: Of ``uniformity`` (2 there).
        margin: Of ``hinge``.
        decorrelation: Which candidate; see :func:`unfused.losses.selfie.decorrelation`.
        decorrelation_weight: Its weight (our choice: 0.04, VICReg's 1 to 25 of covariance and
            invariance, arXiv 2105.04906).
        **shared: See :class:`~unfused.methods.momentum.OnlineTarget`; BYOL-A's.

    Raises:
        UserError: A candidate is unknown, or a number out of range.
    """

    name: ClassVar[str] = "selfie"

    def __init__(
        self,
        encoder: Encoder,
        *,
        diversity: Diversity = "uniformity",
        diversity_weight: float = 1.0,
        sharpness: float = 2.0,
        margin: float = 0.0,
        decorrelation: Decorrelation = "covariance",
        decorrelation_weight: float = 0.04,
        **shared: Any,
    ) -> None:
        super().__init__(encoder, **shared)
        check_diversity(diversity, sharpness, margin)
        must_be_one_of(get_args(Decorrelation), decorrelation=decorrelation)
        must_be("0 or positive", diversity_weight=diversity_weight)
        must_be("0 or positive", decorrelation_weight=decorrelation_weight)
        self.diversity: Diversity = diversity
        self.decorrelation: Decorrelation = decorrelation
        self.diversity_weight, self.decorrelation_weight = diversity_weight, decorrelation_weight
        self.sharpness, self.margin = sharpness, margin

    def forward(self, views: Views, clip_ids: Tensor) -> LossAndMetrics:
        """See :meth:`Method.forward`; the unweighted parts are metrics too."""
        branches, health = self.branches(views)
        align = byol_loss(*branches)
        prediction_a, prediction_b = branches[:2]
        alike = self._alike(prediction_a) + self._alike(prediction_b)
        repeated = self._repeated(prediction_a) + self._repeated(prediction_b)
        loss = align + self.diversity_weight * alike + self.decorrelation_weight * repeated
        parts = {"loss": loss, "align": align, "diversity": alike, "decorrelation": repeated}
        return loss, {name: part.detach() for name, part in parts.items()} | health

    def _alike(self, predictions: Tensor) -> Tensor:
        return diversity(predictions, self.diversity, sharpness=self.sharpness, margin=self.margin)

    def _repeated(self, predictions: Tensor) -> Tensor:
        scaled = F.normalize(predictions, dim=1) * predictions.shape[1] ** 0.5
        return decorrelation(scaled, self.decorrelation)
