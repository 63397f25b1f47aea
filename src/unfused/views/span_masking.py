"""Spans of frames to be masked, drawn for a whole batch at once."""

import torch
from torch import Tensor

from ..core.errors import UserError, must_be


def draw_masked_spans(
    n_real: Tensor,
    n_frames: int,
    *,
    mask_prob: float,
    mask_length: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw the frames that masked prediction hides, as wav2vec 2.0 does (arXiv 2006.11477).

    In a clip of T frames ``floor(mask_prob * T / mask_length + u)`` spans of ``mask_length`` begin,
    u uniform in [0, 1), at different frames; they may overlap, so that somewhat less than the share
    ``mask_prob`` is masked. That is the "static" mask of fairseq and torchaudio, except that a span
    may also end with the clip's last frame, that clips need not have the same number of masked
    frames, and that every clip has at least one span, of at most half of its frames.

    The first ``n_real``, (B,) int64, of each clip's ``n_frames`` are real. Without a generator on
    their device torch's global one draws. Returned is where a frame is masked, (B, n_frames) bool.
    """
    # a number for each frame and one for the number of spans
    uniform = torch.rand(len(n_real), n_frames + 1, generator=generator, device=n_real.device)
    length = (n_real // 2).clamp(1, mask_length)
    starts = n_real - length + 1  # possible ones, the first frames
    n_spans = (mask_prob * n_real / mask_length + uniform[:, -1]).long()
    n_spans = n_spans.clamp(1, most_spans(n_frames, mask_prob, mask_length)).minimum(starts)
    frame = torch.arange(n_frames, device=n_real.device)
    score = uniform[:, :-1].masked_fill(frame >= starts[:, None], 2.0)
    rank = score.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
    begins = rank < n_spans[:, None]
    latest = torch.where(begins, frame, -n_frames).cummax(dim=1).values  # start before a frame
    return frame - latest < length[:, None]


def most_spans(n_frames: int, mask_prob: float, mask_length: int) -> int:
    """Return the largest number of spans that a clip of ``n_frames`` frames can have."""
    return int(mask_prob * n_frames / mask_length) + 1


def most_masked(n_frames: int, mask_prob: float, mask_length: int) -> int:
    """Return the largest number of frames that can be masked in a clip of ``n_frames`` frames."""
    return min(n_frames, most_spans(n_frames, mask_prob, mask_length) * mask_length)


def check_spans(mask_prob: float, mask_length: int) -> None:
    """Raise UserError where ``mask_prob`` is outside (0, 1] or ``mask_length`` below 1."""
    if not 0.0 < mask_prob <= 1.0:
        raise UserError(f"mask_prob={mask_prob} must be in (0, 1]: some frames have to be masked")
    must_be("at least 1", mask_length=mask_length)
