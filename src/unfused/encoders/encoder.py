"""What an encoder is: log-mels in, frame features at named taps and one vector per clip out."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple, Self, get_args

import torch
from torch import Tensor, nn

from ..core.errors import UserError, must_be_one_of

Pooling = Literal["mean", "max", "max+mean"]


class Moments(NamedTuple):
    """The frames of one tap."""

    features: Tensor  # (B, T', D)
    mask: Tensor  # which belong to the clip, at least one in each row, (B, T') bool
    centres: Tensor  # where their centres lie, in input frames, (B, T')


class Encoder(nn.Module):
    """Base class of all encoders.

    Attributes:
        taps: Names of the layers whose output can be the embedding, first to last.
        dims: Embedding dimension at each tap.
        strides: Input frames per output frame at each tap.
        cut: The tap whose pooled output :meth:`forward` returns; layers after it do not exist.
        poolings: How frames at each tap become one vector.
        settings: The constructor's keyword arguments; ``type(self)(**settings)`` rebuilds it.
        name: What the registry calls the class; a class without a name is not in it.
    """

    name: ClassVar[str]
    taps: tuple[str, ...]
    dims: Mapping[str, int]
    strides: Mapping[str, int]
    cut: str
    poolings: Mapping[str, Pooling]
    settings: dict[str, Any]

    def frame_features(self, log_mel: Tensor, spans: Tensor | None = None) -> dict[str, Tensor]:
        """Return each tap's frames up to the cut, tap -> (B, T // stride, D_tap).

        Log-mels are normalised, (B, 1, F, T), spans the real part of each clip, (B, 2), for
        encoders whose features depend on it.
        """
        raise NotImplementedError

    def pool(self, frames: Tensor, spans: Tensor | None, tap: str) -> Tensor:
        """Pool one tap's frames, (B, T', D), over the real ones of each clip, (B, D).

        ``spans``, (B, 2), are in *input* frames, the same as the frames were made with; None: all.
        """
        mask = None if spans is None else self.real(spans, frames.shape[1], tap)
        return pool_frames(frames, mask, self.poolings[tap])

    def forward(self, log_mel: Tensor, spans: Tensor | None = None) -> Tensor:
        """Return the clip embedding at :attr:`cut`, (B, D)."""
        return self.pool(self.frame_features(log_mel, spans)[self.cut], spans, self.cut)

    def pooled(self, log_mel: Tensor, spans: Tensor | None = None) -> dict[str, Tensor]:
        """Return the pooled features of every tap in one pass, tap -> (B, D_tap)."""
        features = self.frame_features(log_mel, spans)
        return {tap: self.pool(frames, spans, tap) for tap, frames in features.items()}

    def moments(self, log_mel: Tensor, spans: Tensor) -> dict[str, Moments]:
        """Return :meth:`frame_features` with those marked that lie wholly in the real part."""
        found = {}
        for tap, frames in self.frame_features(log_mel, spans).items():
            place = spans, frames.shape[1], tap
            centres = self.centres(*place).expand(len(frames), -1)
            found[tap] = Moments(frames, self.real(*place, whole=True), centres)
        return found

    def real(self, spans: Tensor, n_frames: int, tap: str, *, whole: bool = False) -> Tensor:
        """Return which of a tap's frames overlap each clip's real part, or lie in it, (B, T')."""
        return (whole_frames if whole else span_mask)(spans, n_frames, self.strides[tap])

    def centres(self, spans: Tensor, n_frames: int, tap: str) -> Tensor:
        """Return where the centres of a tap's frames lie, in input frames, (B or 1, T')."""
        stride = self.strides[tap]
        return (torch.arange(n_frames, device=spans.device) * stride + (stride - 1) / 2)[None]

    @property
    def read_out_tap(self) -> str:
        """The tap that is read out if nothing else is asked for."""
        return self.cut

    def truncated(self, cut: str) -> Self:
        """Return a new encoder that ends at ``cut``, with copies of this one's weights.

        Raises:
            UserError: ``cut`` is no tap of this encoder.
        """
        if cut not in self.dims:
            raise UserError(f"cut={cut!r} is no tap of this encoder; choose from {list(self.dims)}")
        with torch.random.fork_rng(devices=[]):  # its initial weights must not cost random numbers
            short = type(self)(**{**self.settings, "cut": cut})
        state = self.state_dict()
        short.to(next(iter(state.values())).device)
        short.load_state_dict({key: state[key].clone() for key in short.state_dict()})
        return short.train(self.training)

    def check_input(self, log_mel: Tensor, n_mels: int, shortest: int) -> None:
        """Refuse what is no batch of log-mels, (B, 1, n_mels, T) with T at least ``shortest``."""
        if log_mel.dim() != 4 or log_mel.shape[1:3] != (1, n_mels) or log_mel.shape[3] < shortest:
            raise UserError(
                f"log_mel has shape {tuple(log_mel.shape)}, expected (B, 1, {n_mels}, T) with "
                f"T >= {shortest}; pad short clips and set n_mels to the front-end's"
            )

    @property
    def pooling(self) -> Pooling:
        """How frames at the cut become one vector."""
        return self.poolings[self.cut]

    @property
    def dim(self) -> int:
        """Dimension of the clip embedding."""
        return self.dims[self.cut]

    @property
    def n_parameters(self) -> int:
        """Number of trainable parameters up to the cut."""
        return sum(parameter.numel() for parameter in self.parameters())


def arguments(of_constructor: Mapping[str, Any]) -> dict[str, Any]:
    """Return a constructor's keyword arguments from its ``locals()``, taken in its first line."""
    hidden = ("self", "__class__")
    return {name: value for name, value in of_constructor.items() if name not in hidden}


def span_mask(spans: Tensor, n_frames: int, stride: int) -> Tensor:
    """Return which of T' frames overlap each clip's real part, (B, T') bool; never none of them.

    ``spans`` are first and end *input* frame of the real part, (B, 2), ``stride`` of them a frame.
    """
    frame = torch.arange(n_frames, device=spans.device)
    first = (spans[:, :1] / stride).floor()
    end = (spans[:, 1:] / stride).ceil()
    mask = (frame >= first) & (frame < end)
    return mask | ~mask.any(dim=1, keepdim=True)


def whole_frames(spans: Tensor, n_frames: int, stride: int) -> Tensor:
    """Return which frames lie wholly in each clip's real part; else those of :func:`span_mask`."""
    first = torch.arange(n_frames, device=spans.device) * stride
    whole = (first >= spans[:, :1]) & (first + stride <= spans[:, 1:])
    return whole | (span_mask(spans, n_frames, stride) & ~whole.any(dim=1, keepdim=True))


def band_means(log_mel: Tensor, spans: Tensor | None) -> Tensor:
    """Return the mean of each clip, (B, 1, F, T), over its real frames, (B, F) float32."""
    bands = log_mel.squeeze(1).float()
    if spans is None:
        return bands.mean(dim=2)
    real = span_mask(spans, log_mel.shape[-1], stride=1)
    weight = real / real.sum(dim=1, keepdim=True)
    return torch.bmm(bands, weight.unsqueeze(2)).squeeze(2)


def pool_frames(frames: Tensor, mask: Tensor | None, pooling: Pooling) -> Tensor:
    """Pool frames, (B, T', D), over time; padding neither counts in the mean nor wins the maximum.

    ``mask`` are those of the clip, (B, T') bool, at least one in each row; None: all. ``max+mean``
    is the sum of both, as in BYOL-A and DeLoRes.

    Raises:
        UserError: ``pooling`` is none of the three.
    """
    must_be_one_of(get_args(Pooling), pooling=pooling)

    def kept(padding: float) -> Tensor:
        return frames if mask is None else frames.masked_fill(~mask.unsqueeze(-1), padding)

    if pooling == "max":
        return kept(-torch.inf).amax(dim=1)
    length = frames.shape[1] if mask is None else mask.sum(dim=1, keepdim=True)
    mean = kept(0.0).sum(dim=1) / length
    return mean if pooling == "mean" else kept(-torch.inf).amax(dim=1) + mean
