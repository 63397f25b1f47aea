"""A classifier of audio: an encoder, a head, and what they say about files or samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray

from ..embeddings.embed import MAX_SECONDS, embed_clips
from ..embeddings.pieces import Protocol
from ..probes.head import Head
from ..probes.stored_classifier import read_classifier
from .audio_encoder import AudioEncoder
from .audio_input import Audio


class Prediction(NamedTuple):
    """What a classifier says about one clip.

    Attributes:
        label: The most likely class; where clips have several labels, all that are more likely
            than not, with bars between (possibly none).
        probability: That of the most likely class.
        probabilities: Class -> how likely it is, the most likely first. They sum to 1 where clips
            have one label, and are independent where they have several.
    """

    label: str
    probability: float
    probabilities: dict[str, float]


@dataclass(frozen=True)
class Classifier:
    """An encoder with a classifier on its clip embeddings.

    Attributes:
        encoder: Embeds audio.
        head: Turns embeddings into class probabilities.
    """

    encoder: AudioEncoder
    head: Head

    @property
    def classes(self) -> list[str]:
        """Class names."""
        return [str(name) for name in self.head.classes]

    @property
    def provenance(self) -> dict[str, Any]:
        """What the head was fitted on, and how; the encoder has its own."""
        return self.head.provenance

    @property
    def protocol(self) -> Protocol:
        """How a clip is embedded: as those that the head was fitted on."""
        protocol: Protocol = self.provenance.get("embedding", "whole_clip")
        return protocol

    @property
    def clip_seconds(self) -> float:
        """How long clips should be: as the longest training clip, from 1 to 12 seconds."""
        return min(MAX_SECONDS, max(1.0, float(self.provenance["longest_seconds"])))

    @overload
    def predict(
        self,
        audio: list[Audio],
        *,
        sample_rate: int | None = None,
        device: torch.device | str = "auto",
    ) -> list[Prediction]: ...

    @overload
    def predict(
        self, audio: Audio, *, sample_rate: int | None = None, device: torch.device | str = "auto"
    ) -> Prediction: ...

    def predict(
        self,
        audio: Audio | list[Audio],
        *,
        sample_rate: int | None = None,
        device: torch.device | str = "auto",
    ) -> Prediction | list[Prediction]:
        """Classify a clip, or a list of clips of any lengths; each is one clip, however long.

        Args:
            audio: A path, samples (N,) or (channels, N) in [-1, 1], or a list of either.
            sample_rate: Rate of samples in Hz; needed with samples, not looked at for files.
            device: Where to compute: ``auto`` (cuda, else mps, else cpu), or one of them.

        Returns:
            The prediction, or a list of predictions.

        Raises:
            UnreadableAudio: A file cannot be used, or samples are not finite.
            ValueError: Samples without their rate or of a wrong shape, an empty list.
        """
        clips = audio if isinstance(audio, list) else [audio]
        store = self.encoder.store_of(clips, sample_rate)
        found = self.predictions(
            embed_clips(
                self.encoder, store, np.arange(len(store)), protocol=self.protocol, device=device
            )[self.encoder.encoder.cut]
        )
        return found if isinstance(audio, list) else found[0]

    def predictions(self, embeddings: NDArray[np.float32]) -> list[Prediction]:
        """Classify clip embeddings, (N, D)."""
        likely, labels = self.head.probabilities(embeddings), self.head.labels(embeddings)
        order = np.argsort(-likely, axis=1, kind="stable")
        found = []
        for row, ranked, label in zip(likely, order, labels, strict=True):
            named = {str(self.head.classes[c]): float(row[c]) for c in ranked}
            found.append(Prediction(str(label), float(row[ranked[0]]), named))
        return found


def load_classifier(folder: str | Path) -> Classifier:
    """Read a stored classifier; the task's data are not needed.

    Args:
        folder: A folder under ``data/06_models/classifiers``, which ``kedro run
            --pipeline=classify`` fills, or what ``kedro run --pipeline=export`` wrote.

    Returns:
        The classifier, on the CPU; ``.predict(audio)`` classifies files or samples.

    Raises:
        FileNotFoundError: There is no classifier in ``folder``.
        ValueError: What is there is damaged, unfinished, or does not fit this version.
    """
    trained, head = read_classifier(folder)
    return Classifier(AudioEncoder.of(trained), head)
