"""A corpus whose classes are swamped by what the views change: does a method learn what stays?

A clip is a faint steady tone under a loud background that drifts through time and is smooth in
frequency; the tone's band is the class. Views take a short part of the crop (random resize crop in
time) and mix in other clips, COLA takes two crops: what two views of a clip share is, more than
anything else, the tone. A first convolution that subtracts neighbouring bands would lay it bare,
but that has to be learnt: the features of an untrained encoder follow the background, and a linear
probe on three labelled clips of each class drowns in it. (On the mean log-mel over time, with no
encoder, that probe scores nearly 1: what is tested is the encoder, not the difficulty of the data.)

A test of a method is one call::

    def test_learns() -> None:
        check_learns("decar", {"n_prototypes": 32})
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unfused.data.log_mel import FrontEnd
from unfused.data.store import LogMelStore
from unfused.embeddings.read_out import ReadOut, read_out
from unfused.encoders import TrainedEncoder
from unfused.probes.probe import Probe
from unfused.tasks.corpus import Corpus
from unfused.training.estimator import random_encoder
from unfused.training.pretraining import estimator
from unfused.views.k_mix_centroids import fit_centroids

N_MELS, CROP_FRAMES = 16, 64
TONES = (2, 4, 6, 8, 10, 12, 14)
"""Of each class the band of its tone."""
ENCODER = {"d": 64, "n_mels": N_MELS, "channels": 8, "dropout": 0.0}
VIEWS = {
    **{"mixup_bank": 256, "mixup_ratio": 0.1},
    **{"freq_scale": (1, 1), "time_scale": (0.2, 0.4), "virtual_crop": (1, 1)},
}
K_MIX_VIEWS = {**VIEWS, "mixing": "k_mix", "k_mix_furthest": 64}
NO_VIEWS = {"mixing": "none", "freq_scale": (1, 1), "time_scale": (1, 1), "virtual_crop": (1, 1)}
"""For a method that compares two crops of a clip as they are."""
TRAINING = {
    **{"epochs": 10, "batch_size": 32, "learning_rate": 5e-3, "precision": "fp32"},
    **{"checkpoint_seconds": 600.0},
}
STANDSTILL = 1e-12  # a learning rate must be positive; this one moves no weight by a rounding error
STANDSTILL_EPOCHS = 2  # all that moves are batch norm's running averages; 20 steps settle them


@dataclass(frozen=True)
class ToyCorpus:
    """How the clips are made.

    Attributes:
        n_training: Unlabelled clips.
        n_probe: Labelled clips of each class, for the probe.
        n_test: Clips of each class that the probe is scored on.
        training_frames: Length of the first, more than two crops.
        probe_frames: Length of the others.
        tone: How much louder its band is, where independent noise has deviation 0.3.
        background: Standard deviation of the background.
        drift: Correlation length of the background, frames and bands.
        seed: Of everything random.
    """

    n_training: int = 320
    n_probe: int = 3
    n_test: int = 50
    training_frames: int = 160
    probe_frames: int = 64
    tone: float = 3.0
    background: float = 2.5
    drift: tuple[float, float] = (4.0, 3.0)
    seed: int = 1

    def clips(self, n: int, n_frames: int, stream: int) -> tuple[NDArray, NDArray]:
        """Return log-mels, (n, T, F), and classes, (n,), in turn."""
        rng = np.random.default_rng((self.seed, stream))
        classes = np.arange(n) % len(TONES)
        white = rng.normal(size=(2, n, n_frames, N_MELS))
        over_time, over_bands = (
            _smoothing(n_frames, self.drift[0]),
            _smoothing(N_MELS, self.drift[1]),
        )
        log_mel = self.background * (over_time @ white[0] @ over_bands.T) + 0.3 * white[1]
        log_mel[np.arange(n), :, np.array(TONES)[classes]] += self.tone
        return 2 * log_mel - 6, classes


def _smoothing(length: int, width: float) -> NDArray:
    """Return the matrix that smooths an axis and keeps the variance of white noise."""
    position = np.arange(length)
    kernel = np.exp(-0.5 * ((position[:, None] - position) / width) ** 2)
    return kernel / np.linalg.norm(kernel, axis=1, keepdims=True)


@dataclass(frozen=True)
class Labelled:
    """A store of all clips, and who is for what."""

    data: Corpus
    centroids: NDArray[np.float32]
    probe: NDArray[np.int64]
    test: NDArray[np.int64]
    labels: NDArray

    @classmethod
    def of(cls, corpus: ToyCorpus, folder: Path) -> Labelled:
        """Write a corpus into a folder."""
        n, m = corpus.n_training, len(TONES) * corpus.n_probe
        unlabelled, _ = corpus.clips(n, corpus.training_frames, 0)
        held_out, labels = corpus.clips(m + len(TONES) * corpus.n_test, corpus.probe_frames, 1)
        clips = {f"{i:04d}": clip for i, clip in enumerate([*unlabelled, *held_out])}
        store = LogMelStore.write(folder, FrontEnd(n_mels=N_MELS), clips)
        seen = pd.DataFrame({"corpus": "toy", "clip_id": store.clip_ids[:n], "digest": ""})
        centroids, _ = fit_centroids(store, np.arange(n), n_centroids=16, seed=corpus.seed)
        probe, test = np.split(np.arange(n, len(store)), [m])
        return cls(Corpus.of(store, seen), centroids.numpy(), probe, test, labels.astype(str))

    def score(self, trained: TrainedEncoder) -> float:
        """Return the balanced accuracy of a linear probe on held-out clips."""
        rows = np.concatenate([self.probe, self.test])
        own = ReadOut((trained.encoder.cut,), (trained.encoder.pooling,))
        (features,) = read_out(trained, self.data.store, rows, [own], device="cpu")
        train, test = np.split(features, [len(self.probe)])
        y_train, y_test = np.split(self.labels, [len(self.probe)])
        return Probe(lda=False).fit(train, y_train).score(test, y_test)


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
) -> None:
    """Assert that pre-training finds the classes, and that nothing but learning does.

    Args:
        name: Registered name of the method.
        method_settings: Its hyper-parameters; ``crop_frames`` is the corpus's.
        views: Arguments of the view maker.
        training: What differs from :data:`TRAINING`.
    """
    scores = learn(name, method_settings, views=views, training=training)
    assert scores.untrained <= 0.75, scores
    assert scores.standstill <= 0.75, scores
    assert scores.trained >= 0.95, scores
    assert not scores.collapsed, scores


def learn(
    name: str,
    method_settings: Mapping[str, Any] | None = None,
    *,
    views: Mapping[str, Any] = VIEWS,
    training: Mapping[str, Any] | None = None,
    corpus: ToyCorpus = ToyCorpus(),
) -> Scores:
    """Return what :func:`check_learns` judges: probe scores before, without and after learning."""
    settings = {"crop_frames": CROP_FRAMES, **(method_settings or {})}
    full = {**TRAINING, **(training or {})}
    still = {**full, "learning_rate": STANDSTILL, "epochs": STANDSTILL_EPOCHS}

    def fitted(length: Mapping[str, Any]) -> Any:
        model = estimator(name)(
            **settings, **length, views=views, encoder_settings=ENCODER, seed=corpus.seed
        )
        return model.set_params(device="cpu").fit(toy.data, toy.centroids)

    with TemporaryDirectory() as temporary:
        toy = Labelled.of(corpus, Path(temporary))
        trained = fitted(full)
        return Scores(
            untrained_score(corpus),
            toy.score(fitted(still).encoder_),
            toy.score(trained.encoder_),
            trained.history_.attrs["collapsed"],
        )


@cache
def untrained_score(corpus: ToyCorpus) -> float:
    """Return the probe score of the encoder that every method starts from."""
    with TemporaryDirectory() as temporary:
        toy = Labelled.of(corpus, Path(temporary))
        start = random_encoder("audio_ntt", ENCODER, corpus.seed)
        front_end = toy.data.store.front_end
        return toy.score(TrainedEncoder(start, "audio_ntt", front_end, *toy.data.statistics))
