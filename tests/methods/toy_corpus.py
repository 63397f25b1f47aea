"""A corpus whose classes are swamped by what the views change: does a method learn what stays?

A clip is a faint ripple that lasts as long as the clip, under a background that is three times as
strong and drifts through time and frequency. The direction of the ripple is the class: gliding up
or down, steeply or gently, beating in all bands at once, or standing still. Where in the clip and
how high one looks (random resize crop), and what else sounds (mixup), changes background, phase and
rates; two crops of a clip (COLA) share nothing but the ripple. So what two views have in common is
the class, but in the features of an untrained encoder the background is most of the variance, and a
linear probe on few clips drowns in it.

A test of a method is one call::

    def test_learns() -> None:
        check_learns("decar", {"n_prototypes": 32})
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unfused.audio.log_mel import FrontEnd
from unfused.audio.store import LogMelStore
from unfused.encoders import TrainedEncoder, load_encoder
from unfused.evaluation.embedding import embed_clips
from unfused.evaluation.linear_probe import LinearProbe
from unfused.training.history import load_history
from unfused.training.pretraining import Recipe, TrainingSet, pretrain, random_encoder
from unfused.training.settings import TrainingSettings

N_MELS, CROP_FRAMES = 16, 64
RIPPLES = (
    *((1 / 5, 1 / 8, 1.0), (1 / 5, -1 / 8, 1.0), (1 / 10, 1 / 5, 1.0), (1 / 10, -1 / 5, 1.0)),
    *((1 / 5, 0.0, 0.8), (0.0, 1 / 5, 0.8)),
)
"""Of each class: cycles per frame, cycles per band, amplitude."""
ENCODER = {"d": 64, "n_mels": N_MELS, "channels": 16, "dropout": 0.0}
VIEWS = {"mixup_bank": 256, "freq_scale": (0.7, 1.0), "time_scale": (0.5, 0.9)}
NO_VIEWS = {"mixing": "none", "freq_scale": (1, 1), "time_scale": (1, 1), "virtual_crop": (1, 1)}
"""For a method that compares two crops of a clip as they are."""
TRAINING = {
    **{"epochs": 40, "batch_size": 32, "learning_rate": 3e-3, "precision": "fp32"},
    **{"checkpoint_seconds": 600.0},
}
STANDSTILL = 1e-12  # a learning rate must be positive; this one moves no weight by a rounding error
STANDSTILL_EPOCHS = 8  # all that moves are the running averages of batch norm, and these settle


@dataclass(frozen=True)
class ToyCorpus:
    """How the clips are made.

    Attributes:
        n_training: Unlabelled clips.
        n_probe: Labelled clips of the probe.
        n_test: Clips that the probe is scored on.
        training_frames: Length of the first, more than two crops.
        probe_frames: Length of the others, so short that the background does not average out.
        background: Standard deviation of the background, where a ripple's amplitude is 1.
        drift: Correlation length of the background, frames and bands.
        noise: Standard deviation of independent noise.
        seed: Of everything random.
    """

    n_training: int = 384
    n_probe: int = 60
    n_test: int = 400
    training_frames: int = 160
    probe_frames: int = 64
    background: float = 2.2
    drift: tuple[float, float] = (6.0, 3.0)
    noise: float = 0.2
    seed: int = 1

    def clips(self, n: int, n_frames: int, stream: int) -> tuple[NDArray, NDArray]:
        """Return log-mels, (n, T, F), and classes, (n,)."""
        rng = np.random.default_rng((self.seed, stream))
        classes = rng.permutation(np.arange(n) % len(RIPPLES))
        rates = np.array(RIPPLES)[classes, :2] * rng.uniform(0.9, 1.1, (n, 2))
        cycles = (
            rates[:, :1, None] * np.arange(n_frames)[:, None]
            + rates[:, 1:, None] * np.arange(N_MELS)
            + rng.random((n, 1, 1))
        )  # (n, T, F)
        ripple = np.array(RIPPLES)[classes, 2:, None] * np.sin(2 * np.pi * cycles)
        white = rng.normal(size=(2, n, n_frames, N_MELS))
        smooth = (
            _smoothing(n_frames, self.drift[0]) @ white[0] @ _smoothing(N_MELS, self.drift[1]).T
        )
        return 2 * (ripple + self.background * smooth + self.noise * white[1]) - 6, classes


def _smoothing(length: int, width: float) -> NDArray:
    """Return the matrix that smooths an axis and keeps the variance of white noise."""
    position = np.arange(length)
    kernel = np.exp(-0.5 * ((position[:, None] - position) / width) ** 2)
    return kernel / np.linalg.norm(kernel, axis=1, keepdims=True)


@dataclass(frozen=True)
class Labelled:
    """A store of all clips, and who is for what."""

    data: TrainingSet
    probe: NDArray[np.int64]
    test: NDArray[np.int64]
    labels: NDArray

    @classmethod
    def of(cls, corpus: ToyCorpus, folder: Path) -> Labelled:
        """Write a corpus into a folder."""
        n, m = corpus.n_training, corpus.n_probe
        unlabelled, _ = corpus.clips(n, corpus.training_frames, 0)
        held_out, labels = corpus.clips(m + corpus.n_test, corpus.probe_frames, 1)
        clips = {f"{i:04d}": clip for i, clip in enumerate([*unlabelled, *held_out])}
        store = LogMelStore.write(folder, FrontEnd(n_mels=N_MELS), clips)
        seen = pd.DataFrame({"corpus": "toy", "clip_id": store.clip_ids[:n], "digest": ""})
        data = TrainingSet(store, seen, *store.statistics(np.arange(n)))
        probe, test = np.split(np.arange(n, len(store)), [m])
        return cls(data, probe, test, labels.astype(str))

    def score(self, trained: TrainedEncoder) -> float:
        """Return the balanced accuracy of a linear probe on held-out clips."""
        rows = np.concatenate([self.probe, self.test])
        features = embed_clips(trained, self.data.store, rows)[trained.encoder.cut]
        train, test = np.split(features, [len(self.probe)])
        y_train, y_test = np.split(self.labels, [len(self.probe)])
        return LinearProbe().fit(train, y_train).score(test, y_test)


@dataclass(frozen=True)
class Scores:
    """Probe scores, and whether the trained encoder's embedding collapsed."""

    untrained: float
    standstill: float
    trained: float
    collapsed: bool


def check_learns(
    name: str,
    method_settings: Mapping[str, Any] | None = None,
    *,
    views: Mapping[str, Any] = VIEWS,
    training: Mapping[str, Any] | None = None,
    encoder: Mapping[str, Any] | None = None,
) -> None:
    """Assert that pre-training finds the classes, and that nothing but learning does.

    Args:
        name: Registered name of the method.
        method_settings: Its hyper-parameters; ``crop_frames`` is the corpus's.
        views: Arguments of the view maker.
        training: What differs from :data:`TRAINING`.
        encoder: What differs from :data:`ENCODER`.
    """
    scores = learn(name, method_settings, views=views, training=training, encoder=encoder)
    assert scores.untrained <= 0.7, scores
    # The running averages of batch norm alone lift an encoder that learns nothing to 0.76 to 0.82.
    assert scores.standstill <= 0.85, scores
    assert scores.trained >= max(0.9, scores.standstill + 0.1), scores
    assert not scores.collapsed, scores


def learn(
    name: str,
    method_settings: Mapping[str, Any] | None = None,
    *,
    views: Mapping[str, Any] = VIEWS,
    training: Mapping[str, Any] | None = None,
    encoder: Mapping[str, Any] | None = None,
    corpus: ToyCorpus = ToyCorpus(),
) -> Scores:
    """Return what :func:`check_learns` judges: probe scores before, without and after learning."""
    settings = {"crop_frames": CROP_FRAMES, **(method_settings or {})}
    architecture = {**ENCODER, **(encoder or {})}
    full = {**TRAINING, **(training or {})}
    still = {**full, "learning_rate": STANDSTILL, "epochs": STANDSTILL_EPOCHS}

    def run(folder: Path, length: Mapping[str, Any]) -> float:
        chosen = TrainingSettings(**length)
        recipe = Recipe("audio_ntt", architecture, chosen, name, settings, views)
        pretrain(folder, toy.data, recipe, seed=corpus.seed, fold=0, device="cpu")
        return toy.score(load_encoder(folder))

    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        toy = Labelled.of(corpus, folder / "store")
        start = random_encoder("audio_ntt", architecture, corpus.seed)
        return Scores(
            toy.score(toy.data.trained(start, "audio_ntt", {})),
            run(folder / "still", still),
            run(folder / "trained", full),
            load_history(folder / "trained").attrs["collapsed"],
        )
