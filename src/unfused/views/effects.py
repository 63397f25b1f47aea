"""What is done to crops besides mixing and resizing: fade, SpecAugment, post-normalisation."""

import torch
from torch import Tensor

from ..core.distributed import gather_rows
from ..encoders.encoder import span_mask
from .settings import ViewSettings
from .view import View

_EPS = 1e-6


def linear_fade(log_mel: Tensor, head: Tensor, tail: Tensor) -> Tensor:
    """Add to log-mels, (B, 1, F, T), gains on a straight line from ``head`` to ``tail``, (B,)."""
    way = torch.linspace(0.0, 1.0, log_mel.shape[3], device=log_mel.device)
    return log_mel + torch.lerp(head[:, None], tail[:, None], way)[:, None, None]


def random_linear_fade(view: View, gain: float, generator: torch.Generator) -> View:
    """Fade each crop, (B, 1, F, T), in or out: BYOL-A version 2 (arXiv 2204.07402).

    Both ends are uniform in [-gain, gain], independently; so a crop may also just change its level.
    The gain is in units of the normalised log-mels (official code: 1); of 0 nothing is drawn.
    """
    if gain == 0.0:
        return view
    uniform = torch.rand(2, len(view.spans), generator=generator, device=view.spans.device)
    head, tail = gain * (2.0 * uniform - 1.0)
    return View(linear_fade(view.log_mel, head, tail), view.spans)


def hidden(n: int, starts: Tensor, widths: Tensor) -> Tensor:
    """Return which of ``n`` rows lie in a crop's bands, (B, n); starts, widths are (B, M)."""
    rows = torch.arange(n, device=starts.device)[:, None]
    first, end = starts[:, None, :], (starts + widths)[:, None, :]  # (B, 1, M)
    return ((rows >= first) & (rows < end)).any(dim=2)


def spec_augment(view: View, how: ViewSettings, generator: torch.Generator) -> View:
    """Hide bands of each crop, (B, 1, F, T): SpecAugment (arXiv 1904.08779) without time warp.

    The width of a band is a whole number, uniform in [0, largest width]; where it lies is uniform
    among the places where it fits. Hidden values become 0, the mean of normalised log-mels. Bands
    of frames lie in the real audio and cover at most half of it each (the paper's upper bound p).
    """
    log_mel, spans = view
    size, _, n_mels, n_frames = log_mel.shape
    if how.freq_masks:
        whole = torch.tensor([0, n_mels], dtype=spans.dtype, device=spans.device)
        bands = _draw(whole.expand(size, 2), how.freq_masks, how.freq_mask_width, generator)
        log_mel = log_mel.masked_fill(hidden(n_mels, *bands)[:, None, :, None], 0.0)
    if how.time_masks:
        first, end = spans[:, 0].ceil(), spans[:, 1].floor()
        most = ((end - first) / 2).floor()
        real = torch.stack([first, end], dim=1)
        bands = _draw(real, how.time_masks, how.time_mask_width, generator, most)
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


@torch.no_grad()
def post_normalisation(views: tuple[View, ...]) -> tuple[View, ...]:
    """Standardise all views of a batch together, by one mean and one deviation; float32.

    Mixup and resize crop move the statistics that the first normalisation set; this repairs the
    drift (BYOL-A, arXiv 2103.06695, section III-B "post-normalisation"; its code has it in both
    versions). Only real frames count, where the code counts padding too; with several processes
    the frames of all of them. Padding is scaled along.
    """
    moments = torch.stack([_moments(view) for view in views]).sum(dim=0)
    count, total, squares = gather_rows(moments.unsqueeze(0)).sum(dim=0)
    mean = total / count
    std = (squares / count - mean.square()).clamp_min(_EPS**2).sqrt()
    return tuple(View((log_mel.float() - mean) / std, spans) for log_mel, spans in views)


def _moments(view: View) -> Tensor:
    """Return how many values the real frames hold, their sum and their sum of squares, (3,)."""
    n_mels, n_frames = view.log_mel.shape[-2:]
    real = span_mask(view.spans, n_frames, stride=1)  # (B, T)
    values = view.log_mel.float().masked_fill(~real[:, None, None], 0.0)
    return torch.stack([real.sum() * n_mels, values.sum(), values.square().sum()])
