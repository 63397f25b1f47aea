from __future__ import annotations

import numpy as np
import pytest
import torch

from unfused.losses import prototype_cross_entropy


def reference(z: np.ndarray, prototypes: np.ndarray, targets: np.ndarray, tau: float) -> float:
    total = 0.0
    for row, target in zip(z.astype(np.float64), targets, strict=True):
        scores = [float(np.dot(row, c)) / tau for c in prototypes.astype(np.float64)]
        top = max(scores)
        total += np.log(sum(np.exp(s - top) for s in scores)) + top - scores[target]
    return total / len(z)


def test_by_hand() -> None:
    z = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    loss, logits = prototype_cross_entropy(z, torch.eye(2), torch.tensor([0, 0]), temperature=0.5)
    assert logits.tolist() == [[2.0, 0.0], [0.0, 4.0]]
    # scores (2, 0) and (0, 4), both of class 0: log(1 + e^-2) and log(1 + e^4)
    assert loss.item() == pytest.approx((np.log1p(np.exp(-2)) + np.log1p(np.exp(4))) / 2)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_equals_a_loop_in_float64(temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(9, 5, generator=generator)
    prototypes = torch.randn(4, 5, generator=generator)
    targets = torch.randint(4, (9,), generator=generator)
    expected = reference(z.numpy(), prototypes.numpy(), targets.numpy(), temperature)
    loss, _ = prototype_cross_entropy(z, prototypes, targets, temperature)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_renaming_clusters_and_rotating_space_change_nothing() -> None:
    torch.manual_seed(0)
    z, prototypes, targets = torch.randn(6, 4), torch.randn(5, 4), torch.randint(5, (6,))
    expected, _ = prototype_cross_entropy(z, prototypes, targets, 0.3)
    order = torch.randperm(5)
    renamed, _ = prototype_cross_entropy(z, prototypes[order], order.argsort()[targets], 0.3)
    rotation = torch.linalg.qr(torch.randn(4, 4)).Q
    rotated, _ = prototype_cross_entropy(z @ rotation, prototypes @ rotation, targets, 0.3)
    torch.testing.assert_close(renamed, expected)
    torch.testing.assert_close(rotated, expected, rtol=1e-4, atol=1e-5)


def test_gradient() -> None:
    torch.manual_seed(0)
    z = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    prototypes = torch.randn(5, 4, dtype=torch.float64)
    targets = torch.tensor([0, 4, 2])
    assert torch.autograd.gradcheck(
        lambda x: prototype_cross_entropy(x, prototypes, targets, 0.7)[0], (z,)
    )


def test_prototypes_get_no_gradient() -> None:
    z, prototypes = torch.randn(2, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    prototype_cross_entropy(z, prototypes, torch.tensor([1, 2]))[0].backward()
    assert prototypes.grad is None
    assert z.grad is not None


def test_bfloat16_input_under_autocast_is_computed_in_float32() -> None:
    torch.manual_seed(0)
    z, prototypes = torch.randn(8, 16).bfloat16(), torch.randn(4, 16)
    targets = torch.randint(4, (8,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, logits = prototype_cross_entropy(z, prototypes, targets, 0.1)
    assert loss.dtype == logits.dtype == torch.float32
    expected = prototype_cross_entropy(z.float(), prototypes, targets, 0.1)
    torch.testing.assert_close((loss, logits), expected)


def test_temperature_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"temperature=0.0 must be positive"):
        prototype_cross_entropy(torch.ones(1, 2), torch.eye(2), torch.tensor([0]), 0.0)
