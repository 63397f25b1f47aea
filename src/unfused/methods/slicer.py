"""SLICER: a student and its momentum teacher contrast instances, the student alone clusters.

(Seth, Ghosh, Umesh, Manocha: SLICER, arXiv 2211.01519.) The official code makes two passes a step
and enqueues after the first, so that in the second every clip is among its own negatives, and moves
the teacher twice; here both directions see the queue as it was, and the teacher moves once.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from ..core.distributed import gather_rows
from ..core.errors import must_be, must_be_one_of
from ..encoders.encoder import Encoder
from ..encoders.projector import Projector
from ..losses.cluster_contrast import cluster_contrast
from ..losses.collapse import embedding_health, perplexity
from ..losses.info_nce import contrast, info_nce_logits, instance_accuracy
from ..views.view import View
from .method import LossAndMetrics, Views
from .momentum import MomentumContrast
from .momentum import queue_size as size_of_queue

LossMix = Literal["sum", "mean"]
Enqueue = Literal["both", "one"]


class SLICER(MomentumContrast):
    """Symmetric instance contrast against a queue, plus cluster contrast of the student's views.

    ``L = L_i(student(a), teacher(b)) + L_i(student(b), teacher(a)) + L_c(student(a), student(b))``
    with :func:`~unfused.losses.info_nce.info_nce` for L_i and
    :func:`~unfused.losses.cluster_contrast.cluster_contrast` for L_c.

    Args:
        n_clips: Number of training clips N.
        queue_size: Keys in the queue K (official code: 65536). None: 65536, or N if that is fewer
            (our choice): half a pass over the clips when both views are enqueued. Beyond a whole
            pass, where clips find their own old keys among their negatives, there is a warning.
        cluster_temperature: Of the cluster contrast (official code: 1).
        n_clusters: Number of clusters C (official code: 128).
        cluster_weight: Weight of the cluster contrast (paper: 1).
        entropy_weight: Weight of the term for evenly used clusters (paper and code: 0).
        cluster_hidden: Hidden width of the cluster head (official code: 2048).
        loss_mix: "sum" of the two directions (paper, LAPE code) or their "mean" (older code).
        enqueue: Teacher keys of "both" views (official code) or of "one".
        **shared: See :class:`~unfused.methods.momentum.MomentumContrast`.

    Raises:
        UserError: A number is out of range, or a word unknown.
    """

    name: ClassVar[str] = "slicer"
    usual_views: ClassVar[Mapping[str, Any]] = {"mixing": "k_mix"}

    def __init__(
        self,
        encoder: Encoder,
        *,
        n_clips: int,
        queue_size: int | None = None,
        cluster_temperature: float = 1.0,
        n_clusters: int = 128,
        cluster_weight: float = 1.0,
        entropy_weight: float = 0.0,
        cluster_hidden: int = 2048,
        loss_mix: LossMix = "sum",
        enqueue: Enqueue = "both",
        **shared: Any,
    ) -> None:
        must_be_one_of(get_args(LossMix), loss_mix=loss_mix)
        must_be_one_of(get_args(Enqueue), enqueue=enqueue)
        must_be("positive", cluster_temperature=cluster_temperature)
        must_be("0 or positive", cluster_weight=cluster_weight, entropy_weight=entropy_weight)
        must_be("at least 2", n_clusters=n_clusters)
        keys_a_pass = n_clips * (2 if enqueue == "both" else 1)
        super().__init__(encoder, size_of_queue(queue_size, n_clips, keys_a_pass), **shared)
        self.cluster_temperature = cluster_temperature
        self.cluster_weight, self.entropy_weight = cluster_weight, entropy_weight
        self.loss_mix, self.enqueue = loss_mix, enqueue
        self.cluster_head = Projector(
            inputs=encoder.dim, hidden=cluster_hidden, outputs=n_clusters, batch_norm=False
        )

    def forward(self, views: Views, clip_ids: Tensor) -> LossAndMetrics:
        """See :meth:`Method.forward`."""
        view_a, view_b = views
        keys_a, keys_b = self.teacher_keys(view_a), self.teacher_keys(view_b)
        self.new_keys += [keys_a, keys_b] if self.enqueue == "both" else [keys_b]
        z_a, p_a = self.student(view_a)
        z_b, p_b = self.student(view_b)
        instance, accuracy = self._instance_loss((z_a, keys_b), (z_b, keys_a))
        p_a, p_b = gather_rows(p_a), gather_rows(p_b)
        cluster = cluster_contrast(p_a, p_b, self.cluster_temperature, self.entropy_weight)
        loss = instance + self.cluster_weight * cluster
        return loss, {
            "loss": loss.detach(),
            "instance_loss": instance.detach(),
            "instance_accuracy": accuracy,
            "cluster_loss": cluster.detach(),
            "cluster_perplexity": perplexity((p_a + p_b).detach().mean(dim=0)),
            "queue_similarity": self.queue.similarity(keys_b),
            **embedding_health(z_a),
        }

    def student(self, view: View) -> tuple[Tensor, Tensor]:
        """Return the projection, (B, projector_dim), and the cluster probabilities, (B, C)."""
        embedding = self.encoder(*view)
        probabilities = self.cluster_head(embedding).float().softmax(dim=1)
        return self.projector(embedding), probabilities

    @torch.no_grad()
    def teacher_keys(self, view: View) -> Tensor:
        """Return the teacher's projection of a view, (B, projector_dim), without gradient."""
        return self.teacher_projector(self.teacher_encoder(*view))

    def _instance_loss(self, *directions: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the contrast of (queries, keys) in both directions, and its mean accuracy."""
        queue, t = self.queue.keys, self.temperature
        logits = [info_nce_logits(queries, keys, queue, t) for queries, keys in directions]
        both = torch.stack([contrast(*each) for each in logits])
        loss = both.sum() if self.loss_mix == "sum" else both.mean()
        return loss, torch.stack([instance_accuracy(*each) for each in logits]).mean()
