"""Random resize crop of log-mels in frequency and time, the whole batch as two matrix products."""

from typing import NamedTuple

import torch
from torch import Tensor

from .settings import Range, ViewSettings
from .view import View

_CUBIC = -0.75  # the constant of torch's bicubic interpolation


class Boxes(NamedTuple):
    """One box per crop, in the input's bins and frames; all (B,) int64.

    A box may reach outside the input, where it reads zeros (the mean of normalised log-mels).
    """

    top: Tensor
    height: Tensor
    left: Tensor
    width: Tensor


def interpolation_matrix(first: Tensor, size: Tensor, n_out: int, n_in: int) -> Tensor:
    """Return matrices, (B, n_out, n_in), that resample ``[first, first + size)`` of an axis.

    Bicubic, corners aligned, borders of the box repeated: along one axis this is what
    ``F.interpolate(box, mode="bicubic", align_corners=True)`` computes. ``first`` and ``size`` are
    (B,); box positions outside the axis count as zero.
    """
    step = (size - 1).float() / max(n_out - 1, 1)
    position = step[:, None] * torch.arange(n_out, device=first.device)  # (B, n_out)
    whole = position.floor()
    matrix = torch.zeros(len(first), n_out, n_in, device=first.device)
    for tap, weight in zip((-1, 0, 1, 2), _cubic_weights(position - whole), strict=True):
        inside = torch.minimum((whole.long() + tap).clamp(min=0), (size - 1)[:, None])
        source = inside + first[:, None]
        weight = weight * ((source >= 0) & (source < n_in))
        # One tap writes one entry per row, so the sum is the same on every device.
        matrix.scatter_add_(2, source.clamp(0, n_in - 1).unsqueeze(2), weight.unsqueeze(2))
    return matrix


def _cubic_weights(t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the weights of the four neighbours at fraction ``t`` (Keys 1981, eq. 4)."""

    def near(x: Tensor) -> Tensor:
        return ((_CUBIC + 2) * x - (_CUBIC + 3)) * x * x + 1

    def far(x: Tensor) -> Tensor:
        return ((_CUBIC * x - 5 * _CUBIC) * x + 8 * _CUBIC) * x - 4 * _CUBIC

    return far(t + 1), near(t), near(1 - t), far(2 - t)


def resize_crop(view: View, boxes: Boxes) -> View:
    """Cut each crop's box out of it, resize it to the crop's shape and map the spans along."""
    log_mel, spans = view
    n_mels, n_frames = log_mel.shape[-2:]
    rows = interpolation_matrix(boxes.top, boxes.height, n_mels, n_mels)
    columns = interpolation_matrix(boxes.left, boxes.width, n_frames, n_frames)
    resized = torch.bmm(torch.bmm(rows, log_mel.squeeze(1).float()), columns.transpose(1, 2))
    # Frame f covers [f - 1/2, f + 1/2] on the axis whose corners are aligned.
    stretch = (n_frames - 1) / (boxes.width - 1).clamp(min=1)
    edges = (spans - 0.5 - boxes.left[:, None]) * stretch[:, None] + 0.5
    return View(resized.unsqueeze(1), edges.clamp(0, n_frames))


def draw_boxes(view: View, how: ViewSettings, generator: torch.Generator) -> Boxes:
    """Draw one box for each crop: BYOL-A's random resize crop (arXiv 2103.06695, section III-B).

    The box lies in a virtual canvas around the crop that is zero outside the crop. Two rules are
    our own: an axis whose scale is (1, 1) is left as it is, where BYOL-A would still shift it in
    the canvas; and a box keeps at least half of the real audio that fits into it, so that a short
    clip in a padded crop is never cut away (at the default ranges no unpadded crop would be).
    """
    n_mels, n_frames = view.log_mel.shape[-2:]
    uniform = torch.rand(4, len(view.spans), generator=generator, device=view.spans.device)
    everything = torch.zeros_like(view.spans)
    everything[:, 1].fill_(n_mels)  # a copied list would make the host wait for the device
    high, wide = how.virtual_crop
    vertical = _draw_axis(uniform[:2], how.freq_scale, n_mels, high, everything)
    horizontal = _draw_axis(uniform[2:], how.time_scale, n_frames, wide, view.spans)
    return Boxes(*vertical, *horizontal)


def random_resize_crop(view: View, how: ViewSettings, generator: torch.Generator) -> View:
    """Draw boxes and apply; where both scales are (1, 1), ``view`` itself comes back."""
    if tuple(how.freq_scale) == tuple(how.time_scale) == (1, 1):
        return view
    return resize_crop(view, draw_boxes(view, how, generator))


def _draw_axis(
    uniform: Tensor, scale: Range, n: int, virtual: float, spans: Tensor
) -> tuple[Tensor, Tensor]:
    """Return first position and size of the boxes along one axis, both (B,) int64."""
    if tuple(scale) == (1, 1):
        return torch.zeros_like(uniform[0]).long(), torch.full_like(uniform[0], n).long()
    (low, high), canvas = scale, int(n * virtual)
    size = ((low + uniform[0] * (high - low)) * n).floor().clamp(1, canvas)
    margin = (canvas - n) // 2  # of the canvas before the crop
    start, end = spans.unbind(1)
    keep = torch.minimum(end - start, size) / 2
    earliest = (start + keep - size).ceil().clamp(min=-margin)
    latest = torch.minimum((end - keep).floor(), canvas - margin - size)
    first = earliest + (uniform[1] * (latest - earliest + 1)).floor()
    return torch.minimum(first, latest).long(), size.long()
