"""DeLoRes-M: contrast clips with a momentum teacher, and decorrelate the layers in between.

(Ghosh, Seth, Umesh: Decorrelating Feature Spaces for Learning General-Purpose Audio
Representations, IEEE JSTSP 2022.) We have seen the paper's abstract, not its formulas: what follows
is the official code.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core.distributed import gather_rows
from ..core.errors import UserError, must_be
from ..encoders.encoder import Encoder
from ..encoders.projector import Projector
from ..losses.barlow_twins import correlation_health, cross_correlation, redundancy_reduction
from ..losses.collapse import embedding_health
from ..losses.info_nce import contrast, info_nce_logits, instance_accuracy
from ..views.view import View
from .method import LossAndMetrics, Views
from .momentum import MomentumContrast
from .momentum import queue_size as size_of_queue

BLOCKS = ("block1", "block2", "block3")


class DeLoReSM(MomentumContrast):
    """MoCo-v2's contrast of the embedding plus Barlow Twins on inner layers, one direction.

    ``L = InfoNCE(student(a), teacher(b)) + barlow_weight * sum_taps BT(student_tap(a),
    teacher_tap(b))`` with :func:`~unfused.losses.info_nce.info_nce` and
    :func:`~unfused.losses.barlow_twins.barlow_twins`. Each tap has one projector, which projects
    the student's features and the teacher's and is trained by both; only the encoder and the
    instance head have a momentum copy.

    Args:
        n_clips: Number of training clips N.
        queue_size: Keys in the queue K (official code: 65536). None: 65536, or N / 2 if that is
            fewer (our choice): half a pass over the clips. Beyond a whole pass, where clips find
            their own old keys among their negatives, there is a warning.
        projector_layers: Hidden layers of the instance head (official code: 0, a single linear
            layer; MoCo-v2: 1).
        taps: Layers of the encoder that are decorrelated (official code: the three blocks).
        barlow_hidden: Width of the two hidden layers of a tap's projector (official code: 2048).
        barlow_dim: Its output dimension (official code: 2048).
        barlow_weight: Weight of a tap's loss (official code: 5e-5 / 32).
        redundancy_weight: Weight of the entries off the diagonal beside the diagonal's (official
            code: 1, as its lambda multiplies both; Barlow Twins and DeLoRes-S: 0.0051).
        **shared: See :class:`~unfused.methods.momentum.MomentumContrast`.

    Raises:
        UserError: A number is out of range, or the encoder has no such tap.
    """

    name: ClassVar[str] = "delores_m"

    def __init__(
        self,
        encoder: Encoder,
        *,
        n_clips: int,
        queue_size: int | None = None,
        projector_layers: int = 0,
        taps: Sequence[str] = BLOCKS,
        barlow_hidden: int = 2048,
        barlow_dim: int = 2048,
        barlow_weight: float = 5e-5 / 32,
        redundancy_weight: float = 1.0,
        **shared: Any,
    ) -> None:
        size = size_of_queue(queue_size, n_clips // 2, n_clips)
        super().__init__(encoder, size, projector_layers=projector_layers, **shared)
        must_be("0 or positive", barlow_weight=barlow_weight, redundancy_weight=redundancy_weight)
        self.barlow_weight, self.redundancy_weight = barlow_weight, redundancy_weight
        self.taps = _checked_taps(taps, encoder)
        widths: Any = {"hidden": barlow_hidden, "outputs": barlow_dim, "hidden_layers": 2}
        self.barlow_projectors = nn.ModuleDict(
            {tap: Projector(inputs=encoder.dims[tap], bias=False, **widths) for tap in self.taps}
        )

    def forward(self, views: Views, clip_ids: Tensor) -> LossAndMetrics:
        """See :meth:`Method.forward`; the health is that of the student's queries."""
        view_a, view_b = views
        teacher, keys = self.teacher_features(view_b)
        student = self.encoder.pooled(*view_a)
        queries = self.projector(student[self.encoder.cut])  # (B, projector_dim)
        logits = info_nce_logits(queries, keys, self.queue.keys, self.temperature)
        instance = contrast(*logits)
        barlow, agreement = self._barlow_loss(student, teacher)
        loss = instance + self.barlow_weight * barlow
        self.new_keys.append(keys)
        metrics = {
            "loss": loss.detach(),
            "instance_loss": instance.detach(),
            "instance_accuracy": instance_accuracy(*logits),
            "barlow_loss": barlow.detach(),
            "queue_similarity": self.queue.similarity(keys),
        }
        return loss, metrics | agreement | embedding_health(queries)

    @torch.no_grad()
    def teacher_features(self, view: View) -> tuple[dict[str, Tensor], Tensor]:
        """Return the teacher's pooled taps, and its keys, (B, projector_dim), without gradient."""
        pooled = self.teacher_encoder.pooled(*view)
        return pooled, self.teacher_projector(pooled[self.encoder.cut])

    def _barlow_loss(
        self, student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]
    ) -> LossAndMetrics:
        """Return the unweighted losses of all taps, added up, and their mean agreement."""
        losses, agreements = [], []
        for tap in self.taps:
            project = self.barlow_projectors[tap]
            z_a, z_b = (gather_rows(project(x[tap]).float()) for x in (student, teacher))
            correlation = cross_correlation(z_a, z_b)
            losses.append(redundancy_reduction(correlation, self.redundancy_weight))
            agreements.append(correlation_health(correlation))
        names = agreements[0]
        means = {name: torch.stack([each[name] for each in agreements]).mean() for name in names}
        return torch.stack(losses).sum(), means


def _checked_taps(taps: Sequence[str], encoder: Encoder) -> tuple[str, ...]:
    """Return the taps if the encoder has each of them, up to its cut."""
    asked = (taps,) if isinstance(taps, str) else tuple(taps)
    known = list(encoder.dims)
    if not asked or not set(asked) <= set(known) or len(set(asked)) < len(asked):
        raise UserError(
            f"taps={list(asked)} of encoder {type(encoder).__name__}: delores_m decorrelates at "
            f"least one of its layers, each named once; set taps to some of {known}"
        )
    return asked
