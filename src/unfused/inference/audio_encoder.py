"""A trained encoder that takes audio: files or samples in, evaluation's embeddings out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.log_mel import FrontEnd
from ..data.store import LogMelStore
from ..embeddings.frames import embed_with_frames
from ..encoders import trained as encoders
from ..encoders.trained import TrainedEncoder
from .audio_input import Audio, log_mel_blocks


class Embedding(NamedTuple):
    """What an encoder says about one clip.

    Attributes:
        frames: One vector for each of the encoder's time steps, (T, D) float32.
        clip: One vector for the whole clip, pooled as in evaluation, (D,) float32.
        seconds: Where the centre of each frame lies, (T,) float32.
    """

    frames: NDArray[np.float32]
    clip: NDArray[np.float32]
    seconds: NDArray[np.float32]


@dataclass
class AudioEncoder(TrainedEncoder):
    """A :class:`~unfused.encoders.trained.TrainedEncoder` that embeds audio.

    Front-end, normalisation, padding and pooling are those of evaluation: ``embed(path).clip`` is
    the vector that probes were fitted on and scored with.
    """

    @classmethod
    def of(cls, trained: TrainedEncoder) -> AudioEncoder:
        """Return a trained encoder as one that embeds audio; the network is shared."""
        return cls(**{item.name: getattr(trained, item.name) for item in fields(trained)})

    @cached_property
    def log_mel_front_end(self) -> FrontEnd:
        """The front-end, ready to use."""
        return FrontEnd(**self.front_end)

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz that audio is converted to."""
        return self.log_mel_front_end.sample_rate

    @property
    def dim(self) -> int:
        """Dimension D of the embeddings."""
        return self.encoder.dim

    @overload
    def embed(
        self,
        audio: list[Audio],
        *,
        sample_rate: int | None = None,
        device: torch.device | str = "auto",
    ) -> list[Embedding]: ...

    @overload
    def embed(
        self, audio: Audio, *, sample_rate: int | None = None, device: torch.device | str = "auto"
    ) -> Embedding: ...

    def embed(
        self,
        audio: Audio | list[Audio],
        *,
        sample_rate: int | None = None,
        device: torch.device | str = "auto",
    ) -> Embedding | list[Embedding]:
        """Embed a clip, or a list of clips of any lengths.

        What comes out for a clip does not depend on the others. A clip shorter than 96 frames is
        centred in padding, which is masked; one longer than 12 s passes in equal chunks, whose
        vectors are averaged by their lengths.

        Args:
            audio: A path, samples (N,) or (channels, N) in [-1, 1], or a list of either.
            sample_rate: Rate of samples in Hz; needed with samples, not looked at for files.
            device: Where to compute: ``auto`` (cuda, else mps, else cpu), or one of them.

        Returns:
            ``frames`` (T, D), ``clip`` (D,) and ``seconds`` (T,) of the clip, or a list of such.

        Raises:
            UnreadableAudio: A file cannot be used, or samples are not finite.
            ValueError: Samples without their rate or of a wrong shape, an empty list.
        """
        clips = audio if isinstance(audio, list) else [audio]
        store = self.store_of(clips, sample_rate)
        found = [Embedding(*parts) for parts in embed_with_frames(self, store, device=device)]
        return found if isinstance(audio, list) else found[0]

    def store_of(self, clips: Sequence[Audio], sample_rate: int | None = None) -> LogMelStore:
        """Return the log-mels of some clips, arguments as for :meth:`embed`."""
        front_end = self.log_mel_front_end
        return LogMelStore.in_memory(
            front_end, (log_mel_blocks(clip, front_end, sample_rate) for clip in clips)
        )


def load_encoder(folder: str | Path) -> AudioEncoder:
    """Read a trained encoder, on the CPU and in evaluation mode.

    Args:
        folder: What training wrote, e.g. ``data/06_models/decar/seed0-fold0``, or what
            ``kedro run --pipeline=export`` wrote.

    Returns:
        The encoder; ``.embed(audio)`` embeds files or samples, ``.encoder`` is the network.

    Raises:
        FileNotFoundError: There is no encoder in ``folder``.
        ValueError: What is there is damaged, unfinished, or does not fit this version.
    """
    return AudioEncoder.of(encoders.load_encoder(folder))
