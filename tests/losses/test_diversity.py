from __future__ import annotations

from itertools import permutations
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from unfused.core.distributed import gather_rows
from unfused.losses import diversity
from unfused.losses.selfie import Diversity

from .two_processes import assert_equals_one_process

KINDS = get_args(Diversity)


def embeddings(n: int, dim: int, seed: int = 0, **kind: torch.dtype) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), **kind)


def reference(z: Tensor, kind: str, sharpness: float, margin: float) -> float:
    """Every ordered pair by itself, in float64."""
    unit = [row / np.linalg.norm(row) for row in z.double().numpy()]
    pairs = list(permutations(unit, 2))
    if kind == "uniformity":
        return float(np.log(np.mean([np.exp(-sharpness * ((a - b) ** 2).sum()) for a, b in pairs])))
    if kind == "hinge":
        return float(np.mean([max(0.0, a @ b - margin) for a, b in pairs]))
    return float(np.mean([(a @ b) ** 2 for a, b in pairs]))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # angles of 90, 45 and 45 degrees: squared distances 2, 2 - sqrt 2, 2 - sqrt 2
        ("uniformity", np.log((np.exp(-4) + 2 * np.exp(-2 * (2 - 2**0.5))) / 3)),
        ("squared_cosine", 1 / 3),
        ("hinge", 2**0.5 / 3),
    ],
)
def test_by_hand(kind: Diversity, expected: float) -> None:
    z = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 3.0]])
    assert diversity(z, kind).item() == pytest.approx(expected)


@pytest.mark.parametrize(("n", "dim"), [(4, 9), (9, 4), (5, 5), (2, 3)])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_a_loop_in_float64(kind: Diversity, n: int, dim: int) -> None:
    z = embeddings(n, dim)
    loss = diversity(z, kind, sharpness=1.5, margin=-0.2)
    assert loss.item() == pytest.approx(reference(z, kind, 1.5, -0.2), rel=1e-4, abs=1e-6)


def test_uniformity_equals_the_pairwise_distances_of_its_authors_formula() -> None:
    z = embeddings(12, 6, dtype=torch.float64)
    unit = torch.nn.functional.normalize(z, dim=1)
    expected = torch.pdist(unit).square().mul(-2.0).exp().mean().log()
    torch.testing.assert_close(diversity(z), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_length_rotation_and_order_change_nothing(kind: Diversity) -> None:
    z = embeddings(7, 4)
    expected = diversity(z, kind)
    rotation = torch.linalg.qr(embeddings(4, 4, seed=1)).Q
    torch.testing.assert_close(diversity(5.0 * z @ rotation, kind), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(diversity(z.flip(0), kind), expected)


@pytest.mark.parametrize(
    ("kind", "collapsed"), [("uniformity", 0), ("squared_cosine", 1), ("hinge", 1)]
)
def test_collapse_is_the_worst_and_a_step_along_the_gradient_helps(
    kind: Diversity, collapsed: float
) -> None:
    same = torch.ones(8, 1) @ embeddings(1, 6)
    assert diversity(same, kind).item() == pytest.approx(collapsed, abs=1e-5)
    z = (same + 0.1 * embeddings(8, 6, seed=1)).requires_grad_()
    before = diversity(z, kind)
    before.backward()
    assert z.grad is not None
    after = diversity(z.detach() - 0.5 * z.grad, kind)
    assert after < before < collapsed + 1e-6


@pytest.mark.parametrize(("n", "dim"), [(3, 5), (5, 3)])
@pytest.mark.parametrize("kind", KINDS)
def test_gradient(kind: Diversity, n: int, dim: int) -> None:
    z = embeddings(n, dim, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: diversity(x, kind, margin=-0.9), (z,))


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_input_under_autocast_is_computed_in_float32(kind: Diversity) -> None:
    z = embeddings(8, 16).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = diversity(z, kind)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, diversity(z.float(), kind))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kind": "spread"}, "diversity='spread' is unknown; choose from .*'hinge'"),
        ({"sharpness": 0.0}, "sharpness=0.0 must be positive"),
        ({"margin": 1.0}, "margin=1.0 must be a cosine"),
    ],
)
def test_refuses_what_has_no_meaning(arguments: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        diversity(embeddings(3, 2), **arguments)
    with pytest.raises(ValueError, match=r"1 embedding\(s\).*at least 2"):
        diversity(embeddings(1, 2))


def gathered(z: Tensor, kind: Diversity) -> Tensor:
    return diversity(gather_rows(z), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_equal_one(kind: Diversity) -> None:
    assert_equals_one_process(gathered, embeddings(8, 5).requires_grad_(), settings=(kind,))
