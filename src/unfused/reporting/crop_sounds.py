"""How crops and what augmentations make of them sound."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..data.inversion import approximate_waveform
from ..data.reading import UnreadableAudio, read_mono
from ..tasks.training_set import TrainingSet

_PEAK = 0.9


@dataclass(frozen=True)
class Sound:
    """Something to listen to.

    Attributes:
        samples: Mono, (N,) float32 in [-1, 1].
        original: From the audio file; otherwise an approximation made from the log-mel.
    """

    samples: np.ndarray
    original: bool


class CropPlayer:
    """Makes sounds of crops: the audio file where it is there, else the inverted log-mel.

    Args:
        data: The clips that crops are cut from.
        manifest: Columns clip_id, path, offset, frames and sample_rate.
    """

    def __init__(self, data: TrainingSet, manifest: pd.DataFrame) -> None:
        self.data, self.front_end = data, data.store.front_end
        self.files = manifest.drop_duplicates("clip_id").set_index("clip_id")

    def crop(self, log_mel: np.ndarray, clip_id: str, start: int) -> Sound:
        """Return a crop's sound.

        Args:
            log_mel: Normalised, (F, T).
            clip_id: Its clip.
            start: Its first frame in the clip; negative in front of a shorter clip.
        """
        n_samples = max(1, (log_mel.shape[1] - 1) * self.front_end.hop)
        try:
            return Sound(self._cut(clip_id, start * self.front_end.hop, n_samples), True)
        except UnreadableAudio:  # moved since; the log-mel is still there
            return self.log_mel(log_mel)

    def log_mel(self, log_mel: np.ndarray) -> Sound:
        """Return an approximation of how a normalised log-mel, (F, T), would sound."""
        nats = log_mel.T * self.data.std + self.data.mean
        return Sound(approximate_waveform(nats, self.front_end), False)

    def _cut(self, clip_id: str, start: int, n_samples: int) -> np.ndarray:
        """Return samples of a clip's file, zeros where they lie outside the clip."""
        if clip_id not in self.files.index:
            raise UnreadableAudio(f"clip {clip_id} is not in the manifest")
        file = self.files.loc[clip_id]
        scale = file["sample_rate"] / self.front_end.sample_rate
        before = max(-start, 0)
        first = int(max(start, 0) * scale)
        frames = min(int((n_samples - before) * scale), int(file["frames"]) - first)
        part = read_mono(
            file["path"],
            offset=int(file["offset"]) + first,
            frames=max(1, frames),
            sample_rate=self.front_end.sample_rate,
        )[: n_samples - before]
        return np.pad(part, (before, n_samples - before - len(part)))


def equally_loud(sounds: Iterable[Sound]) -> list[Sound]:
    """Return sounds with one gain for all, so that the loudest peaks just below full scale."""
    sounds = list(sounds)
    gain = _PEAK / max(1e-6, *(float(np.abs(sound.samples).max()) for sound in sounds))
    return [Sound(sound.samples * np.float32(gain), sound.original) for sound in sounds]
