from __future__ import annotations

from itertools import product
from typing import get_args

import pytest
import torch
from torch.nn import functional as F

from unfused import methods
from unfused.encoders import AudioNTT
from unfused.losses import byol_loss, decorrelation, diversity
from unfused.losses.selfie import Decorrelation, Diversity
from unfused.methods.byol_a import BYOLA
from unfused.methods.selfie import SELFIE

from .conftest import Toy

CLIPS = torch.arange(16)
CANDIDATES = list(product(get_args(Diversity), get_args(Decorrelation)))
WIDTHS = {"projector_hidden": 24, "projector_dim": 8}


def plain_encoder() -> AudioNTT:
    torch.manual_seed(0)
    return AudioNTT(d=32, channels=8, n_mels=16, dropout=0.0)


def small(**settings: object) -> SELFIE:
    return SELFIE(plain_encoder(), **{**WIDTHS, **settings})  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "decorrelating"), CANDIDATES)
def test_loss_is_the_weighted_sum_over_both_views(
    toy: Toy, kind: Diversity, decorrelating: Decorrelation
) -> None:
    method = small(
        diversity=kind,
        decorrelation=decorrelating,
        diversity_weight=0.7,
        decorrelation_weight=0.3,
        sharpness=1.5,
        margin=0.1,
    )
    views = toy.pair(CLIPS)
    loss, metrics = method(views, CLIPS)
    branches, _ = method.branches(views)
    parts = {"align": byol_loss(*branches), "diversity": 0.0, "decorrelation": 0.0}
    for prediction in branches[:2]:
        parts["diversity"] += diversity(prediction, kind, sharpness=1.5, margin=0.1)
        unit = F.normalize(prediction, dim=1)
        parts["decorrelation"] += decorrelation(8**0.5 * unit, decorrelating)
    for name, part in parts.items():
        torch.testing.assert_close(metrics[name], part.detach())
    expected = parts["align"] + 0.7 * parts["diversity"] + 0.3 * parts["decorrelation"]
    torch.testing.assert_close(loss, expected)


def test_without_its_two_losses_it_is_byol_a(toy: Toy) -> None:
    torch.manual_seed(1)
    selfie = small(diversity_weight=0.0, decorrelation_weight=0.0)
    byol = BYOLA(plain_encoder(), **WIDTHS)
    byol.load_state_dict(selfie.state_dict())
    views = toy.pair(CLIPS)
    losses = [method(views, CLIPS)[0] for method in (selfie, byol)]
    assert torch.equal(*losses)
    for loss in losses:
        loss.backward()
    mine, other = (dict(method.named_parameters()) for method in (selfie, byol))
    for name, parameter in mine.items():
        torch.testing.assert_close(parameter.grad, other[name].grad)


@pytest.mark.parametrize(("kind", "decorrelating"), CANDIDATES)
def test_only_the_online_network_gets_a_gradient(
    toy: Toy, kind: Diversity, decorrelating: Decorrelation
) -> None:
    method = small(diversity=kind, decorrelation=decorrelating)
    method(toy.pair(CLIPS), CLIPS)[0].backward()
    for name, parameter in method.named_parameters():
        assert (parameter.grad is None) == name.startswith("teacher_"), name
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("part", ["diversity", "decorrelation"])
def test_each_loss_lowers_what_it_is_for(toy: Toy, part: str) -> None:
    """From one start and on one batch: with the loss its metric falls further than without."""
    views, last = toy.pair(CLIPS), {}
    for weight in (0.0, 5.0):
        torch.manual_seed(1)
        weights = {"diversity_weight": 0.0, "decorrelation_weight": 0.0, f"{part}_weight": weight}
        method = small(**weights)
        optimiser = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], 1e-3)
        for number in range(10):
            loss, metrics = method(views, CLIPS)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            method.after_step(number)
        last[weight] = metrics[part].item()
    assert last[5.0] < last[0.0] - 0.02


def test_the_reconstruction_is_called_one() -> None:
    assert "RECONSTRUCTION" in (methods.selfie.__doc__ or "")
    assert {"diversity", "decorrelation", "momentum"} < set(methods.settings_of("selfie"))


def test_metrics_are_detached_scalars(toy: Toy) -> None:
    _, metrics = small()(toy.pair(CLIPS), CLIPS)
    assert set(metrics) == {
        "loss",
        "align",
        "diversity",
        "decorrelation",
        "std",
        "effective_rank",
    }
    assert all(value.dim() == 0 and not value.requires_grad for value in metrics.values())


def test_bfloat16_autocast(toy: Toy) -> None:
    method = small()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = method(toy.pair(CLIPS), CLIPS)
    loss.backward()
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"diversity": "spread"}, "diversity='spread' is unknown"),
        ({"decorrelation": "barlow"}, "decorrelation='barlow' is unknown"),
        ({"sharpness": -1.0}, "sharpness=-1.0 must be positive"),
        ({"margin": 2.0}, "margin=2.0 must be a cosine"),
        ({"diversity_weight": -1.0}, "diversity_weight=-1.0 must be 0 or positive"),
        ({"momentum": -0.1}, "momentum=-0.1 must be in"),
    ],
)
def test_refuses_what_has_no_meaning(settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        small(**settings)
