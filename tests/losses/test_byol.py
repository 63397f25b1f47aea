from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from unfused.core.distributed import gather_rows
from unfused.losses import byol_loss

from .two_processes import assert_equals_one_process


def four(n: int = 6, dim: int = 5, **kind: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return list(torch.randn(4, n, dim, generator=generator, **kind))


def reference(p_a: Tensor, p_b: Tensor, t_a: Tensor, t_b: Tensor) -> float:
    """Squared distances of unit vectors, one row after the other, in float64."""

    def unit(row: np.ndarray) -> np.ndarray:
        return row / np.sqrt((row**2).sum())

    total = 0.0
    for predictions, targets in ((p_a, t_b), (p_b, t_a)):
        rows = zip(predictions.double().numpy(), targets.double().numpy(), strict=True)
        total += np.mean([((unit(p) - unit(t)) ** 2).sum() for p, t in rows])
    return float(total)


def test_by_hand() -> None:
    p_a = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    t_b = torch.tensor([[1.0, 0.0], [0.0, -2.0]])  # cosines 1 and -1: distances 0 and 4, mean 2
    p_b = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    t_a = torch.tensor([[0.0, 5.0], [1.0, 0.0]])  # 0 and 1 / sqrt 2: 2 and 2 - sqrt 2
    expected = 2.0 + (4.0 - 2.0**0.5) / 2
    assert byol_loss(p_a, p_b, t_a, t_b).item() == pytest.approx(expected)


def test_equals_a_loop_in_float64() -> None:
    parts = four()
    assert byol_loss(*parts).item() == pytest.approx(reference(*parts), rel=1e-5)


def test_equals_lightly() -> None:
    module = pytest.importorskip("lightly.loss").NegativeCosineSimilarity()
    p_a, p_b, t_a, t_b = four()
    expected = 4.0 + 2.0 * module(p_a, t_b) + 2.0 * module(p_b, t_a)
    torch.testing.assert_close(byol_loss(p_a, p_b, t_a, t_b), expected)


def test_length_rotation_order_and_names_of_the_views_change_nothing() -> None:
    parts = four()
    expected = byol_loss(*parts)
    rotation = torch.linalg.qr(torch.randn(5, 5)).Q
    torch.testing.assert_close(byol_loss(*(part @ rotation for part in parts)), expected)
    torch.testing.assert_close(byol_loss(*(part * 7.0 for part in parts)), expected)
    order = torch.randperm(6)
    torch.testing.assert_close(byol_loss(*(part[order] for part in parts)), expected)
    p_a, p_b, t_a, t_b = parts
    torch.testing.assert_close(byol_loss(p_b, p_a, t_b, t_a), expected)


def test_bounds() -> None:
    z = four()[0]
    assert byol_loss(z, z, z, z).item() == pytest.approx(0.0, abs=1e-5)
    assert byol_loss(z, z, -z, -z).item() == pytest.approx(8.0, abs=1e-5)


def test_gradient() -> None:
    p_a, p_b, t_a, t_b = four(3, 4, dtype=torch.float64)
    p_a.requires_grad_()
    p_b.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: byol_loss(a, b, t_a, t_b), (p_a, p_b))


def test_targets_get_no_gradient() -> None:
    leaves = [part.clone().requires_grad_() for part in four()]
    byol_loss(*leaves).backward()
    assert [leaf.grad is None for leaf in leaves] == [False, False, True, True]


def test_bfloat16_input_under_autocast_is_computed_in_float32() -> None:
    parts = [part.bfloat16() for part in four()]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = byol_loss(*parts)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, byol_loss(*(part.float() for part in parts)))


def gathered(*parts: Tensor) -> Tensor:
    return byol_loss(*(gather_rows(part) for part in parts))


def test_two_processes_equal_one() -> None:
    p_a, p_b, t_a, t_b = four()
    assert_equals_one_process(gathered, p_a.requires_grad_(), p_b.requires_grad_(), t_a, t_b)
