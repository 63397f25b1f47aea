"""Conformer: the encoder of wav2vec-2.0-style pre-training on log-mels (arXiv 2110.07313)."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchaudio.models.conformer import ConformerLayer

from ..core.errors import UserError, must_be
from .encoder import Encoder, Pooling, arguments


class Conformer(Encoder):
    """Stacked log-mel frames, a linear layer with layer norm, then Conformer blocks.

    After Srivastava et al. (arXiv 2110.07313), with the sizes of Meta's port to torchaudio: four
    frames become one latent of 256 dimensions (tap ``features``), these are projected to the width
    of the blocks, and every block is a tap (``layer1`` ...). There is no positional encoding; the
    convolutions tell the order. The defaults are the small model, 18.4 million parameters; the
    large one, 87.9 million, has ``embed_dim=768, n_heads=12``.

    A clip's real frames are moved to the beginning and only whole stacks of them become latents (a
    remainder of up to ``stride - 1`` frames is dropped, as in the port), so neither the amount of
    padding nor where it lies changes anything.

    Args:
        n_mels: Mel bands of the input F.
        stride: Frames that are stacked to one latent.
        latent_dim: Dimension of the latents.
        embed_dim: Width D of the blocks.
        n_layers: Number of blocks.
        n_heads: Attention heads of each block; they divide ``embed_dim``.
        ffn_dim: Hidden width of the feed-forward steps.
        first_kernel: Latents that the first block's convolution sees, odd.
        kernel: Latents that the other blocks' convolutions see, odd.
        dropout: Dropout in the blocks.
        pooling: How latents become one vector (our choice; the paper's is not known).
        cut: Tap that is the embedding; what comes after it is not built. None: the last block.

    Raises:
        UserError: An argument has no meaning; the message says which and why.

    >>> Conformer().n_parameters
    18362368
    """

    name: ClassVar[str] = "conformer"

    def __init__(
        self,
        *,
        n_mels: int = 64,
        stride: int = 4,
        latent_dim: int = 256,
        embed_dim: int = 256,
        n_layers: int = 12,
        n_heads: int = 8,
        ffn_dim: int = 1024,
        first_kernel: int = 31,
        kernel: int = 15,
        dropout: float = 0.1,
        pooling: Pooling = "mean",
        cut: str | None = None,
    ) -> None:
        settings = arguments(locals())
        super().__init__()
        self.settings = settings
        _check(settings)
        self.taps = ("features", *(f"layer{i + 1}" for i in range(n_layers)))
        self.cut = self.taps[-1] if cut is None else cut
        if self.cut not in self.taps:
            raise UserError(f"cut={cut!r} is no tap of this Conformer; choose from {self.taps}")
        self.stride, n_built = stride, self.taps.index(self.cut)
        kept = self.taps[: n_built + 1]
        self.dims = dict(zip(kept, [latent_dim, *[embed_dim] * n_layers], strict=False))
        self.strides, self.poolings = dict.fromkeys(kept, stride), dict.fromkeys(kept, pooling)
        self.stack = nn.Linear(stride * n_mels, latent_dim)
        self.layer_norm = nn.LayerNorm(latent_dim)
        self.projection = nn.Linear(latent_dim, embed_dim) if n_built else None
        kernels = [first_kernel, *[kernel] * (n_layers - 1)][:n_built]
        sizes = embed_dim, ffn_dim, n_heads
        self.layers = nn.ModuleList(ConformerBlock(*sizes, k, dropout=dropout) for k in kernels)

    def latents(self, log_mel: Tensor, spans: Tensor | None = None) -> Tensor:
        """Return the layer-normed latents, what pre-training masks, (B, T // stride, latent_dim).

        Arguments as of :meth:`forward`: log-mels, (B, 1, F, T), and their real parts, (B, 2).
        """
        self.check_input(log_mel, self.settings["n_mels"], self.stride)
        frames = log_mel.squeeze(1).transpose(1, 2)  # (B, T, F)
        if spans is not None:
            frames = _moved_to_the_beginning(frames, spans)
        n_latents = frames.shape[1] // self.stride
        stacked = frames[:, : n_latents * self.stride].reshape(len(frames), n_latents, -1)
        return self.layer_norm(self.stack(stacked))

    def n_real(self, spans: Tensor, n_latents: int) -> Tensor:
        """Return how many of a clip's ``n_latents`` latents are real, at least one, (B,) int64."""
        first, end = spans.round().long().unbind(1)
        return ((end - first) // self.stride).clamp(1, n_latents)

    def contextualised(self, latents: Tensor, n_real: Tensor | None) -> dict[str, Tensor]:
        """Send latents, (B, T', latent_dim), masked ones maybe, through the blocks.

        Of each clip the first ``n_real``, (B,), are real; None: all. Returned is tap name ->
        (B, T', D_tap), ``features`` being the latents as given.
        """
        features = {"features": latents}
        if self.projection is None:
            return features
        padding = None if n_real is None else ~_first(n_real, latents.shape[1])
        x = self.projection(latents).transpose(0, 1)  # (T', B, D)
        for i, layer in enumerate(self.layers):
            x = layer(x, padding)
            features[f"layer{i + 1}"] = x.transpose(0, 1)
        return features

    def frame_features(self, log_mel: Tensor, spans: Tensor | None = None) -> dict[str, Tensor]:
        """See :meth:`Encoder.frame_features`; the features of a clip's real part come first."""
        latents = self.latents(log_mel, spans)
        n_real = None if spans is None else self.n_real(spans, latents.shape[1])
        return self.contextualised(latents, n_real)

    def real(self, spans: Tensor, n_frames: int, tap: str, *, whole: bool = False) -> Tensor:
        """See :meth:`Encoder.real`; the real frames come first."""
        return _first(self.n_real(spans, n_frames), n_frames)

    def centres(self, spans: Tensor, n_frames: int, tap: str) -> Tensor:
        """See :meth:`Encoder.centres`."""
        return spans[:, :1].round() + super().centres(spans, n_frames, tap)


class ConformerBlock(ConformerLayer):
    """Half a feed-forward step, convolution, self-attention, half a feed-forward step, layer norm.

    The block of Gulati et al. (arXiv 2005.08100, fig. 1) with the convolution before the attention
    and group norm inside it, as in Meta's port of arXiv 2110.07313. torchaudio's own layer keeps
    padding out of the attention alone; here convolution and group norm do not see it either, so
    that a padded clip gets the same output as the clip alone. Parameters are torchaudio's.

    Sizes are width D, hidden width of the feed-forward steps, attention heads, and frames that the
    depthwise convolution sees, odd.
    """

    def __init__(self, *sizes: int, dropout: float) -> None:
        super().__init__(*sizes, dropout=dropout, use_group_norm=True, convolution_first=True)

    def forward(self, input: Tensor, key_padding_mask: Tensor | None) -> Tensor:  # noqa: A002
        """Transform frames, (T, B, D), of which those marked in (B, T) are padding, if given.

        What comes out at padding has no meaning.
        """
        if key_padding_mask is None:
            return super().forward(input, None)
        x = input + 0.5 * self.ffn1(input)
        x = x + self._convolve(x, key_padding_mask)
        query = self.self_attn_layer_norm(x)
        attended, _ = self.self_attn(
            query, query, query, key_padding_mask=key_padding_mask, need_weights=False
        )
        x = x + self.self_attn_dropout(attended)
        x = x + 0.5 * self.ffn2(x)
        return self.final_layer_norm(x)

    def _convolve(self, frames: Tensor, padding: Tensor) -> Tensor:
        module, outside = self.conv_module, padding.unsqueeze(1)  # (B, 1, T)
        pointwise, glu, depthwise, norm, *rest = module.sequential
        x = module.layer_norm(frames).permute(1, 2, 0)  # (B, D, T)
        x = glu(pointwise(x)).masked_fill(outside, 0.0)
        x = masked_group_norm(depthwise(x), outside, norm)
        for layer in rest:
            x = layer(x)
        return x.permute(2, 0, 1)


def masked_group_norm(x: Tensor, padding: Tensor, norm: nn.GroupNorm) -> Tensor:
    """Apply a group norm of one group, (B, D, T), with mean and variance of the real frames alone.

    ``padding``, (B, 1, T), is not true of all frames of a clip. The result is at least float32, as
    autocast has it for group norm.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    size = (~padding).sum(dim=(1, 2), keepdim=True) * x.shape[1]
    mean = x.masked_fill(padding, 0.0).sum(dim=(1, 2), keepdim=True) / size
    centred = (x - mean).masked_fill(padding, 0.0)
    variance = centred.square().sum(dim=(1, 2), keepdim=True) / size
    normalised = centred * (variance + norm.eps).rsqrt()
    return normalised * norm.weight[:, None] + norm.bias[:, None]


def _moved_to_the_beginning(frames: Tensor, spans: Tensor) -> Tensor:
    """Return each clip's real frames first and zeros, the mean of normalised log-mels, behind."""
    first, end = spans.round().long().split(1, dim=1)  # (B, 1) each
    position = torch.arange(frames.shape[1], device=frames.device)
    source = (first + position).clamp(max=frames.shape[1] - 1)  # (B, T)
    moved = frames.gather(1, source.unsqueeze(2).expand_as(frames))
    return moved.masked_fill((position >= end - first).unsqueeze(2), 0.0)


def _first(counts: Tensor, n: int) -> Tensor:
    """Return a mask of the first ``counts[b]`` of ``n`` positions, (B, n)."""
    return torch.arange(n, device=counts.device) < counts.unsqueeze(1)


def _check(settings: dict[str, Any]) -> None:
    must_be("in [0, 1)", dropout=settings["dropout"])
    for name, value in settings.items():
        if name not in ("dropout", "pooling", "cut"):
            must_be("at least 1", **{name: value})
        if name in ("first_kernel", "kernel") and value % 2 == 0:
            raise UserError(f"{name}={value} must be odd, so that a convolution keeps the length")
    width, n_heads = settings["embed_dim"], settings["n_heads"]
    if width % n_heads:
        raise UserError(f"n_heads={n_heads} does not divide embed_dim={width}; choose a divisor")
