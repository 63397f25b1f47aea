"""UnFuSeD's unsupervised fine-tuning: a random encoder learns pseudo-labels and distils itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..core.errors import UserError, must_be
from ..encoders.encoder import Encoder
from ..encoders.projector import Projector
from ..methods.method import LossAndMetrics, Method, Views
from ..methods.supervised import class_labels
from .loss import self_distillation_loss
from .settings import Hint

BLOCKS = ("block1", "block2", "block3")


class DistilledBlocks(Method):
    """A randomly initialised encoder whose blocks have heads; one of them ends the student.

    Raises:
        UserError: The encoder is truncated, or a block is no tap before its last.
    """

    graphable = True

    def __init__(self, encoder: Encoder, blocks: Sequence[str], crop_frames: int) -> None:
        super().__init__()
        if encoder.cut != encoder.taps[-1]:
            raise UserError(
                f"the encoder ends at cut={encoder.cut!r}, but its last tap {encoder.taps[-1]!r} "
                "is the teacher; give a whole encoder and cut the student from it afterwards"
            )
        if not blocks or not set(blocks) <= set(encoder.taps[:-1]):
            raise UserError(
                f"blocks={list(blocks)} must name at least one tap before the last: "
                f"{list(encoder.taps[:-1])}"
            )
        self.encoder, self.blocks, self.crop_frames = encoder, tuple(blocks), crop_frames

    def student(self, cut: str = "block3") -> Encoder:
        """Return a copy of the encoder up to ``cut``, what is kept and evaluated."""
        return self.encoder.truncated(cut)

    def pooled(self, views: Views) -> Mapping[str, Tensor]:
        """Return what every tap makes of the one view there is, tap -> (B, D_tap)."""
        (view,) = views
        return self.encoder.pooled(view.log_mel, view.spans)


class SelfDistillation(DistilledBlocks):
    """The full encoder and every block predict the pseudo-label (UnFuSeD, arXiv 2303.05668).

    The whole encoder is the teacher, its blocks are the students; each has a head of its own, and
    only the encoder up to one of the blocks is kept (:meth:`student`). The official code, too,
    takes a single view. ``alpha``, ``beta``, ``mse_on`` and ``detach_teacher`` are those of
    :func:`~unfused.distillation.loss.self_distillation_loss`.

    A block's head as in the official code: Linear, batch norm, ReLU, twice, and a last Linear, all
    K wide and without bias. For ``mse_on="features"`` (the paper's figure) the projection has to be
    comparable to the encoder's embedding; we read the figure as the same layers ending in
    ``encoder.dim`` outputs, followed by a linear classifier with softmax.

    Args:
        encoder: A randomly initialised encoder, not truncated.
        labels: Pseudo-label of each training clip, (n_clips,) int64; of several clusterings (ours)
            (n_clips, H): each gets heads of its own, and their losses are averaged.
        n_classes: Number of clusters K, of each clustering.
        hidden: Hidden width of the heads; None: K, as in the official code.
        blocks: Taps before the last that get a head.
        crop_frames: Length of a crop in frames.

    Raises:
        UserError: The encoder is truncated, a block is no tap before its last, or labels are
            wrong.
    """

    name: ClassVar[str] = "unfused"
    labels: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        labels: Any,
        n_classes: int | Sequence[int],
        alpha: float = 0.7,
        beta: float = 0.003,
        mse_on: Hint = "logits",
        detach_teacher: bool = True,
        hidden: int | None = None,
        blocks: Sequence[str] = BLOCKS,
        crop_frames: int = 96,
    ) -> None:
        super().__init__(encoder, blocks, crop_frames)
        must_be("at least 1", hidden=hidden)
        must_be("in [0, 1]", alpha=alpha)
        must_be("0 or positive", beta=beta)
        self.loss_settings: dict[str, Any] = {"alpha": alpha, "beta": beta, "mse_on": mse_on}
        self.loss_settings["detach_teacher"] = detach_teacher
        sizes = [n_classes] if isinstance(n_classes, int) else list(n_classes)
        columns = torch.as_tensor(labels)
        columns = columns[None] if columns.dim() == 1 else columns.T
        checked = [class_labels(one, k) for one, k in zip(columns, sizes, strict=True)]
        self.register_buffer("labels", torch.stack(checked, dim=1))
        features = encoder.dim if mse_on == "features" else None
        self.classifiers, self.heads = nn.ModuleList(), nn.ModuleList()
        for k in sizes:
            self.classifiers.append(nn.Linear(encoder.dim, k))
            heads = {tap: _Head(encoder.dims[tap], hidden or k, k, features) for tap in self.blocks}
            self.heads.append(nn.ModuleDict(heads))

    def forward(self, views: Views, clip_ids: Tensor) -> LossAndMetrics:
        """See :meth:`Method.forward`; metrics are means over the clusterings."""
        pooled = self.pooled(views)
        clusterings = zip(self.classifiers, self.heads, self.labels[clip_ids].T, strict=True)
        losses, metrics = zip(*[self._learn(pooled, *each) for each in clusterings], strict=True)
        loss = torch.stack(losses).mean()
        means = {name: torch.stack([of[name] for of in metrics]).mean() for name in metrics[0]}
        return loss, {"loss": loss.detach(), **means}

    def _learn(
        self, pooled: Mapping[str, Tensor], classifier: Any, heads: Any, labels: Tensor
    ) -> LossAndMetrics:
        """Return the loss and metrics of one clustering."""
        embedding = pooled[self.encoder.cut]
        logits = {"accuracy": classifier(embedding)}
        projections = []
        for tap, head in heads.items():
            projection, logits[f"accuracy_{tap}"] = head(pooled[tap])
            projections.append(projection)
        teacher, *blocks = logits.values()
        features = {"block_features": projections, "teacher_features": embedding}
        how = {**features, **self.loss_settings}
        loss, parts = self_distillation_loss(blocks, teacher, labels, **how)
        right = {name: z.detach().argmax(dim=1) == labels for name, z in logits.items()}
        return loss, {**parts, **{name: hit.float().mean() for name, hit in right.items()}}


class _Head(nn.Module):
    """A block's head: embedding (B, D) -> projection and logits (B, K).

    Without ``features`` the projection is the logits; with it, it has that many dimensions and a
    linear layer makes the logits.
    """

    def __init__(self, inputs: int, hidden: int, n_classes: int, features: int | None) -> None:
        super().__init__()
        outputs = features or n_classes
        self.projector = Projector(
            inputs=inputs, hidden=hidden, outputs=outputs, hidden_layers=2, bias=False
        )
        self.classifier = nn.Linear(features, n_classes) if features else nn.Identity()

    def forward(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        projection = self.projector(embedding)
        return projection, self.classifier(projection)
