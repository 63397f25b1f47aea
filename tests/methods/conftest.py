from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from unfused.encoders import AudioNTT
from unfused.views.view import View


@dataclass
class Toy:
    """Clips of a few kinds, each a spectral profile under noise."""

    log_mel: Tensor  # (N, 1, F, T)
    kinds: Tensor  # (N,)

    def view(self, clip_ids: Tensor) -> View:
        clips = self.log_mel[clip_ids]
        noisy = clips + 0.2 * torch.randn_like(clips)
        return View(noisy, torch.tensor([[0.0, clips.shape[3]]]).expand(len(clips), 2))

    def pair(self, clip_ids: Tensor) -> tuple[View, View]:
        return self.view(clip_ids), self.view(clip_ids)

    def batches(self, size: int) -> Iterator[Tensor]:
        yield from torch.randperm(len(self.kinds)).split(size)

    def embed(self, function: Callable[[tuple[View, ...]], Tensor]) -> Tensor:
        with torch.no_grad():
            clips = torch.arange(len(self.kinds)).split(16)
            return torch.cat([function(self.pair(i)) for i in clips])


def train(method: torch.nn.Module, toy: Toy, epochs: int) -> list[dict[str, float]]:
    """Train on batches of 16 clips and return the metrics of each step."""
    optimiser = torch.optim.AdamW(method.parameters(), 3e-3)
    rows = []
    for _ in range(epochs):
        for clip_ids in toy.batches(16):
            loss, metrics = method((toy.view(clip_ids),), clip_ids)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rows.append({name: value.item() for name, value in metrics.items()})
    return rows


def two_views(toy: Toy, first: int = 0, size: int = 8) -> tuple[tuple[View, View], Tensor]:
    """Return two views of clips in a row, and their numbers."""
    clip_ids = torch.arange(first, first + size)
    return toy.pair(clip_ids), clip_ids


def train_on_pairs(
    method: torch.nn.Module, toy: Toy, steps: int, size: int = 8
) -> list[dict[str, float]]:
    """Train on pairs of views, as the training loop does; return the metrics of each step."""
    optimiser = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], 1e-3)
    rows = []
    for step in range(steps):
        torch.manual_seed(100 + step)
        loss, metrics = method(*two_views(toy, step * size % 64, size))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        method.after_step(step)
        rows.append({name: value.item() for name, value in metrics.items()})
    return rows


def state(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def make_toy(n_clips: int, noise: float, seed: int) -> Toy:
    torch.manual_seed(seed)
    kinds = torch.arange(n_clips) % 4
    profiles = torch.randn(4, 1, 16, 1)
    return Toy(profiles[kinds] + noise * torch.randn(n_clips, 1, 16, 24), kinds)


@pytest.fixture
def toy() -> Toy:
    return make_toy(64, noise=0.3, seed=0)


@pytest.fixture
def encoder() -> AudioNTT:
    torch.manual_seed(0)
    return AudioNTT(d=32, channels=8, n_mels=16)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute with one thread, so that what is learnt does not depend on the number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
