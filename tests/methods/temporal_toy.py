"""A corpus whose classes differ in how sound changes, swamped by what stays the same in a clip.

Masked prediction within a clip cannot use, so has no reason to keep, what is equal in all of its
frames: a target and its distractors share it. Here every clip has a strong colour of its own that
says nothing about the class. A clip of a class steps through three spectra of that class, which
average to zero: the mean over time of anything linear in the log-mels is the colour alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from unfused.encoders import Encoder
from unfused.views.view import View

N_CLASSES, N_SPECTRA, HOLD = 4, 3, 8
N_MELS, N_FRAMES = 16, 96


@dataclass(frozen=True)
class TemporalToy:
    """Clips with their classes; the first half trains, the second tests."""

    log_mel: Tensor  # (N, 1, F, T)
    classes: Tensor  # (N,)

    @property
    def train(self) -> Tensor:
        """Rows for training, of encoder and probe."""
        return torch.arange(len(self.classes) // 2)

    @property
    def test(self) -> Tensor:
        """Rows for the probe's score."""
        return torch.arange(len(self.classes) // 2, len(self.classes))

    def view(self, rows: Tensor) -> View:
        """Return clips without augmentation."""
        return View(self.log_mel[rows], torch.tensor([[0.0, N_FRAMES]]).expand(len(rows), 2))


def temporal_toy(
    n_clips: int = 1200, *, colour: float = 4.0, noise: float = 0.5, seed: int = 0
) -> TemporalToy:
    """Return a corpus.

    Args:
        n_clips: Training and test clips together.
        colour: Size of each clip's own spectrum, where the classes' have size 1.
        noise: Size of independent noise on every value.
        seed: Of everything random.
    """
    generator = torch.Generator().manual_seed(seed)
    spectra = torch.randn(N_CLASSES, N_SPECTRA, N_MELS, generator=generator)
    spectra = spectra - spectra.mean(dim=1, keepdim=True)
    classes = torch.arange(n_clips) % N_CLASSES
    phase = torch.randint(N_SPECTRA * HOLD, (n_clips, 1), generator=generator)
    step = (torch.arange(N_FRAMES) + phase) // HOLD % N_SPECTRA  # (N, T)
    log_mel = spectra[classes[:, None], step].transpose(1, 2)  # (N, F, T)
    log_mel = log_mel + colour * torch.randn(n_clips, N_MELS, 1, generator=generator)
    log_mel = log_mel + noise * torch.randn(n_clips, N_MELS, N_FRAMES, generator=generator)
    log_mel = (log_mel - log_mel.mean()) / log_mel.std()
    return TemporalToy(log_mel[:, None], classes)


@torch.no_grad()
def probe(encoder: Encoder, toy: TemporalToy) -> float:
    """Return the test accuracy of a linear classifier on the frozen encoder's embeddings."""
    was_training = encoder.training
    embeddings = encoder.eval()(*toy.view(torch.arange(len(toy.classes)))).numpy()
    encoder.train(was_training)
    classes, train, test = toy.classes.numpy(), toy.train.numpy(), toy.test.numpy()
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    classifier.fit(embeddings[train], classes[train])
    return float(classifier.score(embeddings[test], classes[test]))
