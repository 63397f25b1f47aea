"""Conformer-wav2vec2: hide spans of latents, tell what they were from the rest of the clip."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.distributed import gather_rows
from ..core.errors import UserError, must_be
from ..encoders.conformer import Conformer
from ..encoders.encoder import Encoder
from ..losses.collapse import embedding_health
from ..losses.masked_contrast import clip_losses, contrast_logits, draw_distractors
from ..views.make_views import PLAIN_VIEWS
from ..views.span_masking import check_spans, draw_masked_spans, most_masked
from .method import LossAndMetrics, Method, Views


class Draws(NamedTuple):
    """What is random in one batch."""

    masked: Tensor  # latents that are hidden, (B, T')
    order: Tensor  # positions of each clip's masked latents, then of others to fill up, (B, M)
    distractors: Tensor  # which of those M are the distractors of each, (B, M, K)
    counted: Tensor  # which of the M are masked and have a distractor, (B, M)


class ConformerWav2vec2(Method):
    """wav2vec 2.0 with a Conformer on log-mels (arXiv 2110.07313).

    Spans of the encoder's layer-normed latents are replaced by a learned vector; the blocks'
    output there must be closer to the latent that was hidden, linearly projected, than to those
    hidden elsewhere in the same clip. No quantizer, hence no diversity loss: as in Meta's port
    to torchaudio, whose numbers are the defaults. Loss:
    :func:`unfused.losses.masked_contrast.masked_contrast`; masks:
    :func:`unfused.views.span_masking.draw_masked_spans`. It takes one view, not augmented.

    Args:
        mask_prob: Share of latents to mask, before spans overlap.
        mask_length: Latents of a span.
        n_distractors: Distractors of each masked latent (paper: 100).
        temperature: Divides the cosines (0.1 in wav2vec 2.0; this paper's is not known).
        crop_frames: Length of a crop (our choice: 4 s; the paper's is not known).

    Raises:
        UserError: The encoder is no Conformer with at least one block, or a number is out of
            range.
    """

    name: ClassVar[str] = "conformer"
    graphable = True
    usual_encoder: ClassVar[str] = "conformer"
    usual_views: ClassVar[Mapping[str, Any]] = PLAIN_VIEWS
    encoder: Conformer

    def __init__(
        self,
        encoder: Encoder,
        *,
        mask_prob: float = 0.3,
        mask_length: int = 3,
        n_distractors: int = 100,
        temperature: float = 0.1,
        crop_frames: int = 400,
    ) -> None:
        super().__init__()
        check_spans(mask_prob, mask_length)
        must_be("at least 1", n_distractors=n_distractors)
        must_be("positive", temperature=temperature)
        if not isinstance(encoder, Conformer) or encoder.projection is None:
            found = type(encoder).__name__
            raise UserError(
                f"method 'conformer' masks what enters the blocks of a Conformer, but its encoder "
                f"is {found}, ending at {encoder.cut!r}: train encoder='conformer', whole",
                remedy="encoder",
            )
        if crop_frames < 2 * encoder.stride:
            raise UserError(
                f"crop_frames={crop_frames} must be at least {2 * encoder.stride}: one latent is "
                "hidden and one is left"
            )
        self.encoder, self.crop_frames = encoder, crop_frames
        self.mask_prob, self.mask_length = mask_prob, mask_length
        self.n_distractors, self.temperature = n_distractors, temperature
        latent_dim = self.encoder.dims["features"]
        self.mask_vector = nn.Parameter(torch.rand(latent_dim))
        self.target_projection = nn.Linear(latent_dim, self.encoder.dim)

    def forward(self, views: Views, clip_ids: Tensor) -> LossAndMetrics:
        """See :meth:`Method.forward`; masks and distractors come from torch's global generator.

        With several processes the loss is the mean over the masked frames of all of them, however
        unequally they are spread.
        """
        (view,) = views
        latents = self.encoder.latents(view.log_mel, view.spans)
        n_real = self.encoder.n_real(view.spans, latents.shape[1])
        return self.contrast(latents, n_real, self.draw(n_real, latents.shape[1]))

    def draw(self, n_real: Tensor, n_latents: int) -> Draws:
        """Draw masks and distractors for clips of ``n_latents``, of which (B,) are real."""
        share, length = self.mask_prob, self.mask_length
        masked = draw_masked_spans(n_real, n_latents, mask_prob=share, mask_length=length)
        size = most_masked(n_latents, share, length)
        order = masked.byte().argsort(dim=1, descending=True, stable=True)[:, :size]
        return Draws(masked, order, *draw_distractors(masked.sum(1), size, self.n_distractors))

    def contrast(self, latents: Tensor, n_real: Tensor, draws: Draws) -> LossAndMetrics:
        """Return loss and metrics of latents, (B, T', latent_dim), for given draws."""
        hidden = torch.where(draws.masked.unsqueeze(2), self.mask_vector, latents)
        frames = self.encoder.contextualised(hidden, n_real)[self.encoder.cut]
        predictions = _at(frames, draws.order)
        targets = self.target_projection(_at(latents, draws.order))
        logits = contrast_logits(predictions, targets, draws.distractors, self.temperature)
        counts = gather_rows(draws.counted.sum(dim=1)).sum()
        loss = gather_rows(clip_losses(logits, draws.counted)).sum() / counts.clamp(min=1)
        ends = n_real * self.encoder.stride
        spans = torch.stack([torch.zeros_like(ends), ends], dim=1).float()
        pooled = self.encoder.pool(frames.detach(), spans, self.encoder.cut)
        return loss, {
            "loss": loss.detach(),
            "contrastive_accuracy": _accuracy(logits.detach(), draws.counted),
            "mask_share": draws.masked.sum() / n_real.sum(),
            "target_std": _spread(targets.detach(), draws.counted),
            **embedding_health(pooled),
        }


def _at(frames: Tensor, order: Tensor) -> Tensor:
    """Return the frames at some positions of each clip, (B, T', D) and (B, M) -> (B, M, D)."""
    return frames.gather(1, order.unsqueeze(2).expand(-1, -1, frames.shape[2]))


def _accuracy(logits: Tensor, counted: Tensor) -> Tensor:
    """Return how often the target wins, among frames that have a distractor unlike it."""
    hardest = logits[..., 1:].amax(dim=2)
    asked = counted & hardest.isfinite()
    right = asked & (logits[..., 0] > hardest)
    return right.sum() / asked.sum().clamp(min=1)


def _spread(targets: Tensor, counted: Tensor) -> Tensor:
    """Return the deviation of the counted targets' directions, 0 if all point the same way."""
    unit = F.normalize(targets.float(), dim=2)
    weight = counted.unsqueeze(2) / counted.sum().clamp(min=1)
    mean = (weight * unit).sum(dim=(0, 1))
    variance = (weight * (unit - mean).square()).sum(dim=(0, 1))
    return variance.sqrt().mean() * targets.shape[2] ** 0.5
