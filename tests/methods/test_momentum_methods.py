"""A teacher whose momentum rises comes to rest, whichever method it belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from unfused import methods
from unfused.encoders import AudioNTT
from unfused.methods.momentum import MomentumMethod
from unfused.views.view import View

from ..training.test_real_methods import N_CLIPS, SMALL, method_of, stopping, store, train  # noqa: F401
from . import test_delores_m, test_slicer
from .conftest import Toy, state, train_on_pairs

MOMENTUM = ("byol_a", "selfie", "slicer", "delores_m")


def of(name: str, encoder: AudioNTT, **settings: Any) -> Any:
    return methods.create(name, encoder, n_clips=N_CLIPS, **{**SMALL[name], **settings})


@pytest.mark.parametrize("name", MOMENTUM)
def test_momentum_rises_along_half_a_cosine(encoder: AudioNTT, name: str) -> None:
    method = of(name, encoder, momentum=0.9, momentum_end=1.0)
    assert isinstance(method, MomentumMethod)
    found = [method.momentum_at(share) for share in (0.0, 1 / 3, 0.5, 1.0)]
    assert found == pytest.approx([0.9, 0.925, 0.95, 1.0])
    assert of(name, encoder, momentum=0.9).momentum_at(0.7) == 0.9


@pytest.mark.parametrize("name", MOMENTUM)
def test_the_teacher_moves_by_the_momentum_of_the_moment(encoder: AudioNTT, name: str) -> None:
    method = of(name, encoder, momentum=0.5, momentum_end=1.0)
    with torch.no_grad():
        method.encoder.fc2.weight += 1.0
    start = method.teacher_encoder.fc2.weight.clone()
    method.progress = 0.0
    method.after_step(0)
    torch.testing.assert_close(method.teacher_encoder.fc2.weight, start + 0.5)
    method.progress = 1.0
    method.after_step(1)
    torch.testing.assert_close(method.teacher_encoder.fc2.weight, start + 0.5)


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_a_momentum_outside_its_range_is_refused(encoder: AudioNTT, value: float) -> None:
    with pytest.raises(ValueError, match=f"momentum_end={value}"):
        of("byol_a", encoder, momentum_end=value)


class Watched:
    """Notes how far the training is, whenever a step ends."""

    def __init__(self, method: Any) -> None:
        self.method, self.seen, self.original = method, [], method.after_step
        method.after_step = self

    def __call__(self, step: int) -> None:
        self.seen.append(self.method.progress)
        self.original(step)


def test_the_loop_says_how_far_it_is_and_resumes_exactly(tmp_path: Path, store: Any) -> None:  # noqa: F811
    def made() -> Any:
        method = method_of("slicer")
        method.momentum, method.momentum_end = 0.5, 1.0
        return method

    whole = made()
    watched = Watched(whole)
    train(whole, store, tmp_path / "whole", "fp32")
    assert watched.seen == pytest.approx([(step + 1) / 9 for step in range(9)])
    with pytest.raises(RuntimeError, match="power cut"):
        train(stopping(made(), 4), store, tmp_path / "stopped", "fp32")
    resumed = made()
    train(resumed, store, tmp_path / "stopped", "fp32")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    view = View(torch.randn(2, 1, 16, 96), torch.tensor([[0.0, 96.0]] * 2))
    assert not torch.equal(whole.teacher_keys(view), made().teacher_keys(view))


@pytest.mark.parametrize("small", [test_slicer.small, test_delores_m.small])
def test_the_teacher_starts_equal_gets_no_gradient_and_follows(small: Any, toy: Toy) -> None:
    method = small()
    pairs = (
        (method.teacher_encoder, method.encoder),
        (method.teacher_projector, method.projector),
    )
    for teacher, student in pairs:
        assert all(torch.equal(v, student.state_dict()[k]) for k, v in state(teacher).items())
    before = [state(teacher) for teacher, _ in pairs]
    train_on_pairs(method, toy, 1)
    for (teacher, student), old in zip(pairs, before, strict=True):
        assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
        for name, value in student.state_dict().items():
            if value.is_floating_point():
                expected = 0.9 * old[name] + 0.1 * value
                torch.testing.assert_close(teacher.state_dict()[name], expected)
    moved = method.encoder.blocks["block2"][0].weight - before[0]["blocks.block2.0.weight"]
    assert moved.abs().max() > 1e-4
