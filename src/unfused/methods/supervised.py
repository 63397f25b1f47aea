"""Training on true labels: from scratch, or end-to-end fine-tuning of a trained encoder."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import UserError, must_be
from ..encoders.encoder import Encoder
from ..views.mixup import draw_mixup, mix_labelled
from ..views.view import View
from .method import LossAndMetrics, Method, Views


class Supervised(Method):
    """A linear classifier on the encoder's embedding; both are trained.

    The classifier starts from a head's weight (K, D) and bias (K,), e.g. a linear probe's, if there
    is one. Labels are the class of each training clip, (n_clips,) int64 (cross-entropy), or which
    of the K classes it has, (n_clips, K) of 0 and 1 (binary cross-entropy of each). Label smoothing
    spreads a share of the target evenly over all classes; of several labels it draws each towards
    one half. Mixup mixes crops and labels by shares from Beta(alpha, alpha); 0: no mixup.

    Raises:
        UserError: Labels or the head's shape are wrong, or a number is out of range.
    """

    runtime_arguments = Method.runtime_arguments | {"head"}
    labels: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        labels: Any,
        n_classes: int,
        dropout: float = 0.0,
        label_smoothing: float = 0.0,
        mixup_alpha: float = 0.0,
        head: tuple[Tensor, Tensor] | None = None,
        crop_frames: int = 96,
    ) -> None:
        super().__init__()
        must_be("in [0, 1)", dropout=dropout, label_smoothing=label_smoothing)
        must_be("0 or positive", mixup_alpha=mixup_alpha)
        self.encoder, self.crop_frames = encoder, crop_frames
        self.label_smoothing, self.mixup_alpha = label_smoothing, mixup_alpha
        self.graphable = not mixup_alpha  # mixup is drawn on the host
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(encoder.dim, n_classes)
        if head is not None:
            shapes = [tuple(each.shape) for each in (*head, *self.classifier.parameters())]
            if shapes[:2] != shapes[2:]:
                raise UserError(
                    f"head has shapes {shapes[0]} and {shapes[1]}, expected {shapes[2]} and "
                    f"{shapes[3]}; fit it on this encoder's embeddings and these classes"
                )
            self.classifier.load_state_dict(dict(zip(("weight", "bias"), head, strict=True)))
        self.register_buffer("labels", label_targets(labels, n_classes))

    def logits(self, view: View) -> Tensor:
        """Return the class logits of a batch, (B, K)."""
        return self.classifier(self.dropout(self.encoder(*view)))

    def forward(self, views: Views, clip_ids: Tensor) -> LossAndMetrics:
        """See :meth:`Method.forward`."""
        (view,) = views
        labels = self.labels[clip_ids]
        if self.mixup_alpha and self.training:
            view, labels = self._mixed(view, labels)
        logits, smooth = self.logits(view).float(), self.label_smoothing
        if self.labels.dim() == 1:  # mixed ones are shares of the classes
            loss = F.cross_entropy(logits, labels, label_smoothing=smooth)
            truth = labels if labels.dim() == 1 else labels.argmax(dim=1)
            right = logits.detach().argmax(dim=1) == truth
        else:
            loss = F.binary_cross_entropy_with_logits(logits, labels * (1 - smooth) + smooth / 2)
            right = (logits.detach() > 0) == (labels > 0.5)
        return loss, {"loss": loss.detach(), "accuracy": right.float().mean()}

    def _mixed(self, view: View, labels: Tensor) -> tuple[View, Tensor]:
        """Return mixed crops and the shares of their classes, (B, K); drawn as dropout is."""
        if labels.dim() == 1:
            labels = F.one_hot(labels, self.classifier.out_features).to(view.log_mel.dtype)
        drawn = draw_mixup(len(labels), self.mixup_alpha, torch.default_generator)
        weight, partner = (each.to(labels.device, non_blocking=True) for each in drawn)
        return mix_labelled(view, labels, weight, partner)


def label_targets(labels: Any, n_classes: int) -> Tensor:
    """Return checked labels: one class of each clip, (N,) int64, or several, (N, K) float32."""
    tensor = torch.as_tensor(labels)
    if tensor.dim() != 2:
        return class_labels(tensor, n_classes)
    binary = ((tensor == 0) | (tensor == 1)).all()
    if tensor.shape[1] != n_classes or n_classes < 2 or not len(tensor) or not binary:
        raise UserError(
            f"labels of shape {tuple(tensor.shape)} for n_classes={n_classes}: expected one column "
            "for each of at least 2 classes, with 1 where a clip has the class and else 0"
        )
    return tensor.float().clone()


def class_labels(labels: Any, n_classes: int) -> Tensor:
    """Return the class of each training clip as a checked tensor, (n_clips,) int64."""
    tensor = torch.as_tensor(labels)
    if tensor.dim() != 1 or len(tensor) == 0 or tensor.is_floating_point():
        raise UserError(
            f"labels of shape {tuple(tensor.shape)} and type {tensor.dtype}: expected one integer "
            "for each training clip"
        )
    low, high = int(tensor.min()), int(tensor.max())
    if n_classes < 2 or low < 0 or high >= n_classes:
        raise UserError(
            f"labels run from {low} to {high}, but n_classes={n_classes} must be at least 2 and "
            f"allows 0 to {n_classes - 1}; leave unlabelled clips out and number the classes from 0"
        )
    return tensor.long().clone()
