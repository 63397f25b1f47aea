"""A random linear fade over each crop, of BYOL-A's version 2."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .view import View


def linear_fade(log_mel: Tensor, head: Tensor, tail: Tensor) -> Tensor:
    """Add to log-mels, (B, 1, F, T), gains on a straight line from ``head`` to ``tail``, (B,)."""
    way = torch.linspace(0.0, 1.0, log_mel.shape[3], device=log_mel.device)
    return log_mel + torch.lerp(head[:, None], tail[:, None], way)[:, None, None]


@dataclass(frozen=True)
class RandomLinearFader:
    """Fade each crop in or out: BYOL-A version 2 (arXiv 2204.07402).

    Both ends are uniform in [-gain, gain], independently; so a crop may also just change its level.
    The gain is in units of the normalised log-mels (official code: 1); 0: no fade.
    """

    gain: float = 0.0

    def __call__(self, view: View, generator: torch.Generator) -> View:
        """Draw and fade, (B, 1, F, T); without a gain nothing is drawn."""
        if self.gain == 0.0:
            return view
        uniform = torch.rand(2, len(view.spans), generator=generator, device=view.spans.device)
        head, tail = self.gain * (2.0 * uniform - 1.0)
        return View(linear_fade(view.log_mel, head, tail), view.spans)
