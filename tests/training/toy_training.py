"""A small method that uses everything a loop must keep exact."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

from unfused.core.distributed import gather_rows
from unfused.core.seeding import numpy_generator, torch_generator
from unfused.methods.method import Method
from unfused.training.batches import CropSource
from unfused.training.loop import fit
from unfused.training.settings import TrainingSettings
from unfused.views import View, ViewMaker

N_CLIPS, N_MELS, FRAMES = 20, 8, 12


class MemoryStore:
    """Log-mels in memory with the interface of a store."""

    pad_value = -16.0
    front_end = SimpleNamespace(pad_value=pad_value, n_mels=N_MELS)

    def __init__(self, lengths, seed=0):
        rng = numpy_generator(seed, "store")
        self.clips = [
            rng.normal(-5, 2, (n, N_MELS)).astype(np.float16).astype(np.float32) for n in lengths
        ]
        self.n_frames = np.array(lengths)

    def clip(self, row):
        return self.clips[row]

    def crops(self, rows, starts, length):
        crops = torch.full((len(rows), length, N_MELS), self.pad_value)
        spans = torch.zeros(len(rows), 2)
        for i, (row, start) in enumerate(zip(rows, starts, strict=True)):
            clip = self.clips[row]
            first, end = max(-start, 0), min(length, len(clip) - start)
            if first < end:
                crops[i, first:end] = torch.from_numpy(clip[start + first : start + end])
            spans[i] = torch.tensor([first, max(end, 0)])
        return crops, spans


class Toy(Method):
    """Batch norm, dropout, labels from the epoch's start, a moving average after each step."""

    assignments: Tensor
    average: Tensor

    def __init__(self, stop_at=None, kind="exception", embedding=None):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.encoder = nn.Sequential(
                nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3)
            )
            self.head = nn.Linear(4 * (N_MELS - 2) * (FRAMES - 2), 3)
        self.n_views, self.crop_frames = 2, FRAMES
        self.stop_at, self.kind = stop_at, kind
        self.register_buffer("assignments", torch.zeros(N_CLIPS, dtype=torch.int64))
        self.register_buffer("average", torch.zeros(3))
        self.modes = []

    def logits(self, view: View) -> Tensor:
        return self.head(self.encoder(view.log_mel))

    def forward(self, views, clip_ids):
        logits = torch.stack([self.logits(view) for view in views]).mean(0)
        loss = nn.functional.cross_entropy(logits, self.assignments[clip_ids])
        with torch.no_grad():
            self.average.lerp_(gather_rows(logits.float()).mean(0), 0.1)
        return loss, {"loss": loss.detach(), "spread": logits.detach().float().std()}

    def start_epoch(self, epoch, embed, seed):
        z = embed(lambda views: self.logits(views[0]))
        self.modes.append(self.training)
        noise = torch.rand(z.shape, generator=torch_generator(seed, "toy", epoch))
        self.assignments.copy_((z + noise + torch.rand(3)).argmax(1))
        return {"largest": self.assignments.bincount().max()}

    def after_step(self, step):
        self.average.mul_(0.99)
        if self.stop_at is not None and step == self.stop_at:
            interrupt(self.kind)


def interrupt(kind):
    if kind == "exception":
        raise RuntimeError("power cut")
    os.kill(os.getpid(), getattr(signal, kind))


def settings_for(**changes):
    return TrainingSettings(
        **{
            "epochs": 3,
            "batch_size": 6,
            "learning_rate": 0.05,
            "precision": "fp32",
            "log_every": 2,
            "checkpoint_seconds": 0,
            **changes,
        }
    )


def source_for(seed=0, batch_size=6):
    lengths = [5 + i for i in range(N_CLIPS)]
    return CropSource(
        MemoryStore(lengths),
        np.arange(N_CLIPS),
        crop_frames=FRAMES,
        batch_size=batch_size,
        seed=seed,
    )


def views_for():
    return ViewMaker(mean=-5.0, std=2.0, n_mels=N_MELS, crop_frames=FRAMES, mixup_bank=16)


def train(folder, method=None, settings=None, seed=0, **arguments):
    """Train a toy; return it with its history."""
    method = method or Toy()
    settings = settings or settings_for()
    with source_for(seed, settings.batch_size) as source:
        history = fit(
            method, source, views_for(), settings,
            folder=Path(folder), seed=seed, device="cpu", **arguments,
        )  # fmt: skip
    return method, history


def train_until_killed(folder, stop_at, seconds):
    """Be a process that a system kills in a step."""
    torch.set_num_threads(1)
    train(folder, Toy(stop_at, "SIGKILL"), settings_for(checkpoint_seconds=seconds))
