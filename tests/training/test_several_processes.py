"""Two processes train what one does, and end with the same numbers in both."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from unfused.core.distributed import gather_rows, rank
from unfused.methods.method import Method
from unfused.training.batches import CropSource
from unfused.training.checkpoint import CheckpointError
from unfused.training.loop import fit
from unfused.training.settings import TrainingSettings
from unfused.views import ViewMaker

from ..losses.two_processes import in_two_processes
from .test_real_methods import N_CLIPS, SMALL, method_of, store  # noqa: F401
from .toy_training import FRAMES, N_MELS, MemoryStore, Toy, settings_for, source_for
from .toy_training import N_CLIPS as N_TOYS

TOTAL = 6  # 3 epochs of 2 steps


class Plain(Method):
    """No batch norm, no dropout; clips are compared with all others of a batch, and remembered."""

    bank: Tensor
    mean: Tensor

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(rank())  # the processes start apart: that of process 0 must hold
            self.encoder = nn.Sequential(  # type: ignore[assignment]
                nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 10, 5)
            )
            self.rare = nn.Linear(5, 5)
        self.n_views, self.crop_frames, self.stop_at = 2, FRAMES, stop_at
        self.register_buffer("bank", torch.zeros(N_TOYS, 5))
        self.register_buffer("mean", torch.zeros(5))
        self.seen: list[list[int]] = []

    def forward(self, views: Any, clip_ids: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        self.seen.append(clip_ids.tolist())
        z_a, z_b = (self.encoder(view.log_mel).float() for view in views)
        a, b = gather_rows(z_a), gather_rows(z_b)
        loss = nn.functional.cross_entropy(a @ b.T / 4, torch.arange(len(a)))
        pull = (z_a - self.bank[clip_ids]).square().mean()
        if 3 in clip_ids:  # a layer that has a part in one process only
            pull = pull + self.rare(z_a[clip_ids == 3]).float().square().sum() / len(z_a)
        with torch.no_grad():
            self.bank[gather_rows(clip_ids)] = a.detach()
        self.z = a.detach()
        return loss + 0.1 * pull, {"pull": pull.detach()}

    def start_epoch(self, epoch: int, embed: Any, seed: int) -> dict[str, Tensor]:
        self.bank.copy_(embed(lambda views: self.encoder(views[0].log_mel)) + torch.rand(5))
        return {"spread": self.bank.std()}

    def after_step(self, step: int) -> None:
        self.mean.lerp_(self.z.mean(0), 0.1)
        if step == self.stop_at and rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)  # one process is told, both have to stop


def toy_views(**changes: Any) -> ViewMaker:
    return ViewMaker(mean=-5.0, std=2.0, n_mels=N_MELS, crop_frames=FRAMES, **changes)


def train(folder: Path, method: Method, views: ViewMaker, changes: Any) -> dict[str, Any]:
    settings = settings_for(**{"optimiser": "sgd", "batch_size": 8, **changes})
    with source_for(0, settings.batch_size) as source:
        history = fit(method, source, views, settings, folder=folder, seed=0, device="cpu")
    return {
        "weights": method.state_dict(),
        "views": views.state_dict(),
        "history": history.drop(columns="clips_per_second").to_dict("list"),
    }


def plain(folder: Path, changes: dict[str, Any]) -> dict[str, Any]:
    method = Plain()
    views = toy_views(mixup_ratio=0.0, freq_scale=(1, 1), time_scale=(1, 1))
    return {**train(folder, method, views, changes), "seen": method.seen}


def toy(folder: Path, stop_at: int | None = None) -> dict[str, Any]:
    """Batch norm, dropout and mixup; maybe stopped in process 1."""
    method = Toy(stop_at if rank() == 1 else None, "SIGTERM")
    try:
        return train(folder, method, toy_views(mixup_bank=16), {})
    except SystemExit as end:
        return {"end": end.code, "step": torch.load(folder / "checkpoint.pt")["step"]}


def real(folder: Path, name: str, clips: Any) -> dict[str, Any]:
    method, rows = method_of(name), np.arange(N_CLIPS)
    settings = TrainingSettings(
        epochs=2, batch_size=8, accumulate=2, precision="fp32", checkpoint_seconds=1e6
    )
    mean, std = clips.statistics(rows)
    shape = {"crop_frames": method.crop_frames, "n_mels": 16, "mixup_bank": 12}
    views = ViewMaker(mean=mean, std=std, **shape)
    crops = {"crop_frames": method.crop_frames, "n_crops": method.n_crops}
    with CropSource(clips, rows, batch_size=8, seed=0, **crops) as source:
        fit(method, source, views, settings, folder=folder, seed=0, device="cpu")
    return {"weights": method.state_dict(), "views": views.state_dict()}


def folders_apart(folder: Path) -> str:
    """Process 1 does not see the checkpoint of process 0."""
    try:
        plain(folder if rank() == 0 else folder / "elsewhere", {"epochs": 3})
    except CheckpointError as error:
        return str(error)
    return ""


def refused(batch_size: int, n_clips: int) -> str:
    lengths = [20] * n_clips
    try:
        rows = np.arange(n_clips)
        CropSource(MemoryStore(lengths), rows, crop_frames=4, batch_size=batch_size, seed=0)
    except ValueError as error:
        return str(error)
    return ""


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    for part in ("weights", "views"):
        assert one[part].keys() == other[part].keys()
        for name, value in one[part].items():
            assert torch.equal(value, other[part][name]), name


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": 0.01},
        {"optimiser": "lars", "gradient_clip": 0.5, "bias_learning_rate": 0.01, "epochs": 5},
    ],
    ids=["sgd", "lars"],
)
def test_two_processes_train_what_one_does(tmp_path: Path, changes: dict[str, Any]) -> None:
    alone = plain(tmp_path / "alone", changes)
    first, second = in_two_processes(plain, tmp_path / "together", changes)
    assert_same(first, second)
    batches = zip(first["seen"], second["seen"], strict=True)
    assert [a + b for a, b in batches] == alone["seen"]
    for name, value in alone["weights"].items():
        torch.testing.assert_close(first["weights"][name], value, rtol=1e-5, atol=1e-5)
    for name in ("step", "clips", "learning_rate", "loss", "pull", "spread"):
        assert first["history"][name] == pytest.approx(alone["history"][name], rel=1e-4), name
    assert first["history"] == second["history"]


def test_random_layers_and_views_differ_but_what_is_kept_does_not(tmp_path: Path) -> None:
    first, second = in_two_processes(toy, tmp_path)
    assert_same(first, second)
    assert first["views"]["mixup.filled"] == 16
    assert first["weights"]["encoder.1.num_batches_tracked"] == 2 * TOTAL


def test_told_to_stop_in_one_process_both_stop_and_go_on(tmp_path: Path) -> None:
    whole, _ = in_two_processes(toy, tmp_path / "whole")
    stopped = in_two_processes(toy, tmp_path / "stopped", 2)
    assert stopped == [{"end": 143, "step": 3}] * 2
    first, second = in_two_processes(toy, tmp_path / "stopped")
    assert_same(first, second)
    assert_same(first, whole)
    for name, values in whole["history"].items():
        assert first["history"][name] == pytest.approx(values, rel=1e-5, nan_ok=True), name


def test_another_number_of_processes_may_go_on(tmp_path: Path) -> None:
    plain(tmp_path / "alone", {"learning_rate": 0.01})
    in_two_processes(plain_half, tmp_path / "together")
    assert torch.load(tmp_path / "together" / "checkpoint.pt")["step"] == 3
    resumed = plain(tmp_path / "together", {"learning_rate": 0.01})
    alone = plain(tmp_path / "alone", {"learning_rate": 0.01})
    for name, value in alone["weights"].items():
        torch.testing.assert_close(resumed["weights"][name], value, rtol=1e-5, atol=1e-5)


def plain_half(folder: Path) -> int | str | None:
    method = Plain(stop_at=2)
    views = toy_views(mixup_ratio=0.0, freq_scale=(1, 1), time_scale=(1, 1))
    try:
        train(folder, method, views, {"learning_rate": 0.01})
    except SystemExit as end:
        return end.code
    return None


@pytest.mark.parametrize("name", SMALL)
def test_every_method_is_the_same_in_both(tmp_path: Path, store: Any, name: str) -> None:  # noqa: F811
    first, second = in_two_processes(real, tmp_path, name, store)
    assert_same(first, second)
    before = method_of(name).state_dict()
    assert any(not torch.equal(value, before[key]) for key, value in first["weights"].items())


def test_a_folder_that_only_one_process_sees_is_refused(tmp_path: Path) -> None:
    plain(tmp_path, {"epochs": 3})
    for message in in_two_processes(folders_apart, tmp_path):
        assert "stand at steps 0 to 6" in message
        assert "all of them see" in message


@pytest.mark.parametrize(
    ("batch_size", "n_clips", "words"),
    [
        (7, 20, "batch_size=7 cannot be shared by 2 processes"),
        (8, 3, "of 2 clips a step each needs at least 2"),
        (2, 20, "of 2 clips a step each needs at least 2"),
        (8, 5, ""),
    ],
)
def test_batches_that_cannot_be_shared(batch_size: int, n_clips: int, words: str) -> None:
    for message in in_two_processes(refused, batch_size, n_clips):
        assert words in message
        assert bool(words) == bool(message)
