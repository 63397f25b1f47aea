"""SpecAugment: random bands of mel channels and of frames are hidden."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .view import View


def hidden(n: int, starts: Tensor, widths: Tensor) -> Tensor:
    """Return which of ``n`` rows lie in a crop's bands, (B, n); starts, widths are (B, M)."""
    rows = torch.arange(n, device=starts.device)[:, None]
    first, end = starts[:, None, :], (starts + widths)[:, None, :]  # (B, 1, M)
    return ((rows >= first) & (rows < end)).any(dim=2)


@dataclass(frozen=True)
class SpecAugment:
    """Hide bands of each crop: Park et al. 2019 (arXiv 1904.08779), without its time warp.

    The width of a band is a whole number, uniform in [0, largest width]; where it lies is uniform
    among the places where it fits. Hidden values become 0, the mean of normalised log-mels. Bands
    of frames lie in the real audio and cover at most half of it each (the paper's upper bound p).
    """

    freq_masks: int = 0
    freq_mask_width: int = 16
    time_masks: int = 0
    time_mask_width: int = 16

    def __call__(self, view: View, generator: torch.Generator) -> View:
        """Draw and hide, (B, 1, F, T); without masks nothing is drawn."""
        log_mel, spans = view
        size, _, n_mels, n_frames = log_mel.shape
        if self.freq_masks:
            whole = torch.tensor([0, n_mels], dtype=spans.dtype, device=spans.device)
            bands = _draw(whole.expand(size, 2), self.freq_masks, self.freq_mask_width, generator)
            log_mel = log_mel.masked_fill(hidden(n_mels, *bands)[:, None, :, None], 0.0)
        if self.time_masks:
            first, end = spans[:, 0].ceil(), spans[:, 1].floor()
            most = ((end - first) / 2).floor()
            real = torch.stack([first, end], dim=1)
            bands = _draw(real, self.time_masks, self.time_mask_width, generator, most)
            log_mel = log_mel.masked_fill(hidden(n_frames, *bands)[:, None, None], 0.0)
        return View(log_mel, spans)


def _draw(
    ranges: Tensor, n: int, width: int, generator: torch.Generator, most: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return first rows and widths, (B, n) each, of bands inside ``ranges``, (B, 2)."""
    uniform = torch.rand(2, len(ranges), n, generator=generator, device=ranges.device)
    first, room = ranges[:, :1], (ranges[:, 1:] - ranges[:, :1]).clamp(min=0)
    largest = room.clamp(max=width) if most is None else most[:, None].clamp(0, width)
    widths = torch.minimum((uniform[0] * (largest + 1)).floor(), largest)
    places = room - widths
    return first + torch.minimum((uniform[1] * (places + 1)).floor(), places), widths
