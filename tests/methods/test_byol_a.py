from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unfused import methods
from unfused.encoders import AudioNTT
from unfused.losses import byol_loss
from unfused.methods.byol_a import BYOLA
from unfused.views.effects import post_normalisation
from unfused.views.view import View

from .conftest import Toy

CLIPS = torch.arange(16)


def plain_encoder() -> AudioNTT:
    torch.manual_seed(0)
    return AudioNTT(d=32, channels=8, n_mels=16, dropout=0.0)


def small(encoder: AudioNTT, **settings: object) -> BYOLA:
    given = {"projector_hidden": 24, "projector_dim": 8, **settings}
    return BYOLA(encoder, **given)  # type: ignore[arg-type]


def step(method: BYOLA, views: tuple[View, ...], number: int = 0) -> Tensor:
    optimiser = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], 0.1)
    loss, _ = method(views, CLIPS)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    method.after_step(number)
    return loss.detach()


def test_the_defaults_are_the_official_codes() -> None:
    method = BYOLA(AudioNTT(d=32, channels=8, n_mels=16))
    assert method.projector.widths == [32, 4096, 256]
    assert method.predictor.widths == [256, 4096, 256]
    assert (method.momentum, method.n_views, method.n_crops, method.crop_frames) == (0.99, 2, 1, 96)
    assert methods.settings_of("byol_a")["momentum"].default == 0.99


@pytest.mark.parametrize("normalise", [True, False])
def test_loss_is_both_orders_of_predictions_and_targets(toy: Toy, normalise: bool) -> None:
    method = small(plain_encoder(), post_normalisation=normalise)
    for _ in range(3):
        step(method, toy.pair(CLIPS))  # so that target and online network differ
    views = toy.pair(CLIPS)
    loss, metrics = method(views, CLIPS)
    a, b = post_normalisation(views) if normalise else views
    online = [method.projector(method.encoder(*view)) for view in (a, b)]
    targets = [method.teacher_projector(method.teacher_encoder(*view)) for view in (a, b)]
    expected = byol_loss(*(method.predictor(z) for z in online), *targets)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(metrics["target_cosine"], 1.0 - expected.detach() / 4.0)
    assert not torch.allclose(targets[0], online[0])


def test_only_the_online_network_gets_a_gradient(toy: Toy) -> None:
    method = small(plain_encoder())
    method(toy.pair(CLIPS), CLIPS)[0].backward()
    for name, parameter in method.named_parameters():
        assert (parameter.grad is None) == name.startswith("teacher_"), name
        assert parameter.requires_grad != name.startswith("teacher_"), name


def test_the_target_starts_as_a_copy_and_follows_after_each_step(toy: Toy) -> None:
    method = small(plain_encoder(), momentum=0.9)
    pairs = [
        (f"{part}.{name}", f"teacher_{part}.{name}")
        for part in ("encoder", "projector")
        for name, _ in getattr(method, part).named_parameters()
    ]
    state = method.state_dict()
    expected = {target: state[online].clone() for online, target in pairs}
    assert all(torch.equal(state[target], expected[target]) for _, target in pairs)
    for number in range(3):
        step(method, toy.pair(CLIPS), number)
        for online, target in pairs:
            expected[target] = 0.9 * expected[target] + 0.1 * method.state_dict()[online]
    for online, target in pairs:
        torch.testing.assert_close(method.state_dict()[target], expected[target])
        if online.endswith("weight"):
            assert not torch.equal(method.state_dict()[online], expected[target])


def test_each_view_passes_alone(toy: Toy) -> None:
    """Batch norm sees one view's statistics: view a's prediction does not depend on view b."""
    method = small(plain_encoder(), post_normalisation=False)
    view_a, view_b = toy.pair(CLIPS)
    other = View(5.0 * view_b.log_mel, view_b.spans)
    one, two = (method.branches((view_a, view))[0] for view in (view_b, other))
    assert torch.equal(one[0], two[0])  # prediction of a
    assert torch.equal(one[2], two[2])  # its target
    assert not torch.allclose(one[1], two[1])


def test_metrics_are_detached_scalars(encoder: AudioNTT, toy: Toy) -> None:
    _, metrics = small(encoder)(toy.pair(CLIPS), CLIPS)
    assert set(metrics) == {"loss", "target_cosine", "std", "effective_rank"}
    assert all(value.dim() == 0 and not value.requires_grad for value in metrics.values())
    assert -1.0 <= metrics["target_cosine"] <= 1.0


def test_state_dict_round_trip_is_exact(toy: Toy) -> None:
    method = small(plain_encoder())
    step(method, toy.pair(CLIPS))
    torch.manual_seed(9)
    other = small(AudioNTT(d=32, channels=8, n_mels=16, dropout=0.0))
    other.load_state_dict(method.state_dict())
    views = toy.pair(CLIPS)
    assert torch.equal(step(method, views, 1), step(other, views, 1))
    expected, state = method.state_dict(), other.state_dict()
    assert "teacher_encoder.fc1.weight" in state
    assert all(torch.equal(state[key], expected[key]) for key in expected)


def test_bfloat16_autocast(encoder: AudioNTT, toy: Toy) -> None:
    method = small(encoder)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = method(toy.pair(CLIPS), CLIPS)
    loss.backward()
    assert loss.dtype == torch.float32
    assert 0.0 < loss.item() < 8.0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"momentum": 1.5}, r"momentum=1.5 must be in \[0, 1\]"),
        ({"projector_dim": 0}, "at least 1"),
    ],
)
def test_refuses_what_has_no_meaning(encoder: AudioNTT, settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        small(encoder, **settings)
