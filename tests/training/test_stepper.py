"""Micro-batches, and learning rates of their own for biases."""

from __future__ import annotations

from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from unfused.training import loop
from unfused.training.loop import micro_batches
from unfused.views.view import View

from .test_several_processes import Plain, plain, toy_views, train
from .toy_training import Toy, settings_for
from .toy_training import train as train_toy


def views_of(n_clips: int) -> tuple[View, ...]:
    spans = torch.arange(2.0 * n_clips).reshape(n_clips, 2)
    return tuple(View(torch.randn(n_clips, 1, 3, 4), spans + view) for view in range(2))


@pytest.mark.parametrize(
    ("n_clips", "accumulate", "sizes"),
    [(8, 1, [8]), (8, 4, [2] * 4), (9, 4, [2, 2, 2, 3]), (5, 4, [2, 3]), (3, 9, [3]), (1, 2, [1])],
)
def test_micro_batches_are_the_batch_in_parts(
    n_clips: int, accumulate: int, sizes: list[int]
) -> None:
    views, clip_ids = views_of(n_clips), torch.arange(n_clips)
    parts = list(micro_batches(views, clip_ids, accumulate))
    assert [len(ids) for _, _, ids in parts] == sizes
    assert [share for share, _, _ in parts] == [size / n_clips for size in sizes]
    assert torch.equal(torch.cat([ids for _, _, ids in parts]), clip_ids)
    for number, view in enumerate(views):
        for field in ("log_mel", "spans"):
            joined = torch.cat([getattr(part[number], field) for _, part, _ in parts])
            assert torch.equal(joined, getattr(view, field))


class OfSingleClips(Plain):
    """The part of the loss that does not compare clips."""

    def forward(self, views: Any, clip_ids: torch.Tensor) -> Any:
        z = self.encoder(views[0].log_mel)
        self.z = z.detach()
        loss = (z - 1).square().sum(1).mean()
        return loss, {"mean": z.detach().mean()}


@pytest.mark.parametrize("optimiser", ["sgd", "lars"])
def test_a_loss_of_single_clips_does_not_depend_on_micro_batches(
    tmp_path: Path, optimiser: str
) -> None:
    as_they_are = {"mixup_ratio": 0.0, "freq_scale": (1, 1), "time_scale": (1, 1)}
    whole, parts = (
        train(
            tmp_path / str(accumulate),
            OfSingleClips(),
            toy_views(**as_they_are),
            {
                "accumulate": accumulate,
                "batch_size": 7,
                "optimiser": optimiser,
                "learning_rate": 1e-3,
            },
        )
        for accumulate in (1, 3)
    )
    for name, value in whole["weights"].items():
        if name != "mean":  # of the last micro-batch
            torch.testing.assert_close(parts["weights"][name], value, rtol=1e-5, atol=1e-6)
    for name in ("loss", "mean", "clips", "step"):
        assert parts["history"][name] == pytest.approx(whole["history"][name], rel=1e-5), name


def test_a_loss_that_compares_clips_compares_those_of_a_micro_batch(tmp_path: Path) -> None:
    whole = plain(tmp_path / "whole", {"learning_rate": 0.01})
    parts = plain(tmp_path / "parts", {"learning_rate": 0.01, "accumulate": 4})
    assert [len(ids) for ids in parts["seen"]] == [2] * 4 * len(whole["seen"])
    assert list(chain(*parts["seen"])) == list(chain(*whole["seen"]))
    assert parts["history"]["loss"][0] < whole["history"]["loss"][0]  # fewer to be told apart


def test_resume_with_micro_batches_is_exact(tmp_path: Path) -> None:
    settings = settings_for(accumulate=3)
    whole, _ = train_toy(tmp_path / "whole", settings=settings)
    with pytest.raises(RuntimeError, match="power cut"):
        train_toy(tmp_path / "stopped", Toy(4), settings)
    resumed, _ = train_toy(tmp_path / "stopped", settings=settings)
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_biases_learn_at_their_own_rate(tmp_path: Path) -> None:
    still, _ = train_toy(
        tmp_path, settings=settings_for(optimiser="sgd", weight_decay=0.0, bias_learning_rate=1e-12)
    )
    before = Toy().state_dict()
    for name, value in still.named_parameters():
        moved = not torch.allclose(value, before[name], rtol=0, atol=1e-9)
        assert moved == (value.ndim > 1), name


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw", "lars"])
def test_a_scaled_loss_trains_the_same(tmp_path: Path, monkeypatch: Any, optimiser: str) -> None:
    """Where the CPU computes in float16 too; only the precision's gate is opened."""
    monkeypatch.setattr(loop, "pick_precision", lambda *_: torch.float16)
    changes = {"optimiser": optimiser, "learning_rate": 1e-3, "epochs": 6}
    half = {**changes, "accumulate": 2, "gradient_clip": 10.0}
    scaled = plain(tmp_path / "half", half)
    saved = torch.load(tmp_path / "half" / "checkpoint.pt", weights_only=True)
    assert saved["scaler"]["scale"] > 1
    monkeypatch.undo()
    exact = plain(tmp_path / "full", half)
    assert "scale" not in torch.load(tmp_path / "full" / "checkpoint.pt")["scaler"]
    before = Plain().state_dict()
    for name in ("encoder.3.weight", "encoder.0.weight"):
        moved, expected = (part["weights"][name] - before[name] for part in (scaled, exact))
        likeness = torch.nn.functional.cosine_similarity(moved.flatten(), expected.flatten(), dim=0)
        assert likeness > 0.95


def test_a_step_that_overflows_is_left_out_and_the_scale_falls(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(loop, "pick_precision", lambda *_: torch.float16)
    settings = settings_for(epochs=1, optimiser="adamw", checkpoint_seconds=1e6)

    class Overflows(Toy):
        def forward(self, views: Any, clip_ids: torch.Tensor) -> Any:
            loss, metrics = super().forward(views, clip_ids)
            return (loss * 1e37 if self.steps == 1 else loss), metrics  # finite; scaled, it is not

        def after_step(self, step: int) -> None:
            super().after_step(step)
            self.weights.append(self.head.weight.detach().clone())
            self.steps = step + 1

    method = Overflows()
    method.steps, method.weights = 0, [method.head.weight.detach().clone()]  # type: ignore[assignment]
    train_toy(tmp_path, method, settings)
    moved = [not torch.equal(a, b) for a, b in pairwise(method.weights)]  # type: ignore[arg-type]
    assert moved == [True, False, True]
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert saved["scaler"]["scale"] == 2.0**15
