"""UnFuSeD's unsupervised fine-tuning: a random encoder learns pseudo-labels and distils itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ..core.errors import UserError
from ..encoders.encoder import Encoder
from ..encoders.projector import Projector
from ..methods.method import Method
from ..methods.targets import class_labels
from ..views.view import View
from .loss import Hint, self_distillation_loss


class SelfDistillation(Method):
    """The full encoder and every block predict the pseudo-label (UnFuSeD, arXiv 2303.05668).

    The whole encoder is the teacher, its blocks are the students; each has a head of its own, and
    only the encoder up to one of the blocks is kept (:meth:`student`). Loss and its variants:
    :func:`unfused.losses.self_distillation_loss`.

    A block's head as in the official code: Linear, batch norm, ReLU, twice, and a last Linear, all
    K wide and without bias. For ``mse_on="features"`` (the paper's figure) the projection has to be
    comparable to the encoder's embedding; we read the figure as the same layers ending in
    ``encoder.dim`` outputs, followed by a linear classifier with softmax.

    Args:
        encoder: A randomly initialised encoder, not truncated.
        labels: Pseudo-label of each training clip, (n_clips,) int64.
        n_classes: Number of clusters K.
        alpha: Weight of the blocks' cross entropies against their divergences (official code).
        beta: Weight of the hints (official code).
        mse_on: ``"logits"`` as in the official code, ``"features"`` as in the paper's figure.
        detach_teacher: Keep the students' losses from moving the teacher (our choice; the paper
            does not say, the official code does not).
        hidden: Hidden width of the heads; None: K, as in the official code.
        blocks: Taps that get a head.
        crop_frames: Length of a crop in frames.

    Raises:
        ValueError: The encoder is truncated, a block is no tap before its last, or labels are
            wrong.
    """

    labels: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        labels: Any,
        n_classes: int,
        alpha: float = 0.7,
        beta: float = 0.003,
        mse_on: Hint = "logits",
        detach_teacher: bool = True,
        hidden: int | None = None,
        blocks: Sequence[str] = ("block1", "block2", "block3"),
        crop_frames: int = 96,
    ) -> None:
        super().__init__()
        _check(encoder, blocks, alpha, beta, hidden)
        self.crop_frames, self.blocks = crop_frames, tuple(blocks)
        self.alpha, self.beta = alpha, beta
        self.mse_on: Hint = mse_on
        self.detach_teacher = detach_teacher
        self.encoder = encoder
        self.classifier = nn.Linear(encoder.dim, n_classes)
        width, features = hidden or n_classes, encoder.dim if mse_on == "features" else None
        self.heads = nn.ModuleDict(
            {tap: _Head(encoder.dims[tap], width, n_classes, features) for tap in self.blocks}
        )
        self.register_buffer("labels", class_labels(labels, n_classes))

    def student(self, cut: str = "block3") -> Encoder:
        """Return a copy of the encoder up to ``cut``, what is kept and evaluated."""
        return self.encoder.truncated(cut)

    def forward(
        self, views: tuple[View, ...], clip_ids: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See :meth:`Method.forward`; the official code, too, uses a single view."""
        (view,) = views
        labels = self.labels[clip_ids]
        pooled = self._pooled(view)
        embedding = pooled[self.encoder.cut]
        teacher_logits = self.classifier(embedding)
        outputs = [head(pooled[tap]) for tap, head in self.heads.items()]
        logits = [block_logits for _, block_logits in outputs]
        loss, parts = self_distillation_loss(
            logits,
            teacher_logits,
            labels,
            block_features=[projection for projection, _ in outputs],
            teacher_features=embedding,
            alpha=self.alpha,
            beta=self.beta,
            mse_on=self.mse_on,
            detach_teacher=self.detach_teacher,
        )
        accuracies = self._accuracies(teacher_logits, logits, labels)
        return loss, {"loss": loss.detach(), **parts, **accuracies}

    def _pooled(self, view: View) -> Mapping[str, Tensor]:
        return self.encoder.pooled(view.log_mel, view.spans)

    def _accuracies(
        self, teacher: Tensor, students: Sequence[Tensor], labels: Tensor
    ) -> dict[str, Tensor]:
        named = {"accuracy": teacher}
        named |= {f"accuracy_{tap}": z for tap, z in zip(self.blocks, students, strict=True)}
        return {
            name: (logits.detach().argmax(dim=1) == labels).float().mean()
            for name, logits in named.items()
        }


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


def _check(
    encoder: Encoder, blocks: Sequence[str], alpha: float, beta: float, hidden: int | None
) -> None:
    if encoder.cut != encoder.taps[-1]:
        raise UserError(
            f"the encoder ends at cut={encoder.cut!r}, but its last tap {encoder.taps[-1]!r} is "
            "the teacher; give a whole encoder and cut the student from it afterwards"
        )
    unknown = [tap for tap in blocks if tap not in encoder.taps[:-1]]
    if unknown or not blocks:
        raise UserError(
            f"blocks={list(blocks)} must name at least one tap before the last: "
            f"{list(encoder.taps[:-1])}"
        )
    if hidden is not None and hidden < 1:
        raise UserError(f"hidden={hidden} must be at least 1, or None for the number of classes")
    if not 0.0 <= alpha <= 1.0 or beta < 0.0:
        raise UserError(f"alpha={alpha} must be in [0, 1] and beta={beta} not negative")
