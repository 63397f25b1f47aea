"""AudioNTT: the small convolutional encoder of BYOL-A, DeLoRes, DECAR-v2, SLICER and UnFuSeD."""

from collections.abc import Iterator
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import UserError, must_be
from .encoder import Encoder, Pooling, arguments


class AudioNTT(Encoder):
    """Three convolution blocks, then two linear layers applied to every frame.

    A block is Conv 3x3, batch norm, ReLU, max pooling 2x2 (DeLoRes, arXiv 2203.13628, Table 1). We
    pool before the ReLU, which changes no bit of the output and leaves it a quarter of the work.
    Blocks are averaged over time; the linear layers' output is pooled by maximum + mean over time,
    as in the official UnFuSeD code. 74,880 of the parameters are in the blocks.

    A pooled frame belongs to a clip if it overlaps the clip's span. Padding changes the embedding
    only through the :attr:`margin` input frames that the convolutions see beyond the border.

    Args:
        d: Width of the linear layers.
        n_mels: Mel bands of the input, a multiple of 8.
        channels: Channels of each convolution.
        dropout: Dropout between the two linear layers.
        cut: Tap that is the embedding; what comes after it is not built.
        block_pooling: How a block's frames become one vector.
        fc_pooling: How a linear layer's frames become one vector.

    Raises:
        UserError: An argument has no meaning; the message says which and why.

    >>> AudioNTT(d=2048).n_parameters
    5321856
    """

    name: ClassVar[str] = "audio_ntt"
    taps: tuple[str, ...] = ("block1", "block2", "block3", "fc1", "fc2")
    margin: ClassVar[int] = 7
    """Input frames beyond a pooled frame's own 8 that it depends on, on either side: 1 + 2 + 4."""

    def __init__(
        self,
        *,
        d: int = 2048,
        n_mels: int = 64,
        channels: int = 64,
        dropout: float = 0.3,
        cut: str = "fc2",
        block_pooling: Pooling = "mean",
        fc_pooling: Pooling = "max+mean",
    ) -> None:
        settings = arguments(locals())
        super().__init__()
        if n_mels < 8 or n_mels % 8:
            raise UserError(f"n_mels={n_mels} must be a multiple of 8: three blocks halve it each")
        must_be("at least 1", d=d, channels=channels)
        must_be("in [0, 1)", dropout=dropout)
        if cut not in self.taps:
            raise UserError(f"cut={cut!r} is no tap of AudioNTT; choose from {list(self.taps)}")
        self.settings, self.cut = settings, cut
        kept = self.taps[: self.taps.index(cut) + 1]
        block_dims = [channels * n_mels // 2**i for i in (1, 2, 3)]
        self.dims = dict(zip(kept, [*block_dims, d, d], strict=False))
        self.strides = dict(zip(kept, (2, 4, 8, 8, 8), strict=False))
        kinds = [*[block_pooling] * 3, *[fc_pooling] * 2]
        self.poolings = dict(zip(kept, kinds, strict=False))
        self.blocks = nn.ModuleDict()
        for tap, width in zip(kept[:3], (1, channels, channels), strict=False):
            self.blocks[tap] = _Block(width, channels)
        self.fc1 = nn.Linear(block_dims[-1], d) if "fc1" in kept else None
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(d, d) if "fc2" in kept else None

    def frame_features(self, log_mel: Tensor, spans: Tensor | None = None) -> dict[str, Tensor]:
        """See :meth:`Encoder.frame_features`; a block's D is (mel bands, channels) flattened."""
        return {tap: _as_frames(output) for tap, output in self._outputs(log_mel)}

    def forward(self, log_mel: Tensor, spans: Tensor | None = None) -> Tensor:
        """Return the clip embedding at :attr:`cut`, (B, D)."""
        *_, (tap, output) = self._outputs(log_mel)
        return self.pool(_as_frames(output), spans, tap)

    @property
    def read_out_tap(self) -> str:
        """The last block: the linear layers behind it are shaped by the pretext task."""
        return "block3" if "block3" in self.dims else self.cut

    def _outputs(self, log_mel: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield each tap with its output: (B, C, F', T') of blocks, (B, T', d) of linear layers."""
        self.check_input(log_mel, self.settings["n_mels"], self.strides[self.cut])
        features = log_mel
        for tap, block in self.blocks.items():
            features = block(features)
            yield tap, features
        if self.fc1 is not None:
            features = F.relu(self.fc1(_as_frames(features)))
            yield "fc1", features
        if self.fc2 is not None:
            features = F.relu(self.fc2(self.dropout(features)))
            yield "fc2", features


class _Block(nn.Sequential):
    """Conv 3x3, batch norm, max pooling 2x2, ReLU: (B, C, F, T) -> (B, C', F // 2, T // 2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel_size=3, padding=1),
            nn.BatchNorm2d(outputs),
            nn.MaxPool2d(kernel_size=2),
            nn.ReLU(),
        )


def _as_frames(output: Tensor) -> Tensor:
    """Turn a block's output into frames: (B, C, F', T') -> (B, T', F' * C)."""
    return output.permute(0, 3, 2, 1).flatten(2) if output.dim() == 4 else output
