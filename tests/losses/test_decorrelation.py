from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from unfused.core.distributed import gather_rows
from unfused.losses import decorrelation
from unfused.losses.selfie import Decorrelation

from .two_processes import assert_equals_one_process

KINDS = get_args(Decorrelation)


def embeddings(n: int, dim: int, seed: int = 0, **kind: torch.dtype) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), **kind)


def reference(z: Tensor, kind: str) -> float:
    """NumPy's own covariance and correlation, in float64."""
    rows = z.double().numpy()
    matrix = np.cov(rows, rowvar=False) if kind == "covariance" else np.corrcoef(rows, rowvar=False)
    off = matrix[~np.eye(len(matrix), dtype=bool)]
    return float((off**2).sum() / len(matrix))


@pytest.mark.parametrize(("kind", "expected"), [("covariance", 64 / 9), ("correlation", 1.0)])
def test_by_hand(kind: Decorrelation, expected: float) -> None:
    # variance 4/3 and 16/3 (divided by 3), covariance 8/3, correlation 1: 2 entries over D = 2
    z = torch.tensor([[1.0, 2.0], [-1.0, -2.0], [1.0, 2.0], [-1.0, -2.0]])
    assert decorrelation(z, kind).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("n", "dim"), [(4, 9), (9, 4), (5, 5), (64, 256), (256, 64)])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_numpy_in_float64(kind: Decorrelation, n: int, dim: int) -> None:
    z = embeddings(n, dim) + 3.0
    # what keeps constant dimensions finite, 1e-5 beside a variance, is the larger part of 1e-3
    assert decorrelation(z, kind).item() == pytest.approx(reference(z, kind), rel=1e-3)


@pytest.mark.parametrize(("n", "dim"), [(16, 40), (40, 16)])
def test_covariance_equals_lightlys_vicreg(n: int, dim: int) -> None:
    theirs = pytest.importorskip("lightly.loss.vicreg_loss").covariance_loss
    z = embeddings(n, dim)
    mine, expected = decorrelation(z), theirs(z - z.mean(dim=0))
    torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gram_form_is_the_same_function(kind: Decorrelation) -> None:
    """One zero dimension more than samples switches the form, and only adds to D."""
    z = embeddings(12, 12, dtype=torch.float64)
    wider = torch.cat([z, torch.zeros(12, 1, dtype=torch.float64)], dim=1)
    direct, gram = decorrelation(z, kind), decorrelation(wider, kind)
    torch.testing.assert_close(gram * 13, direct * 12)


@pytest.mark.parametrize("kind", KINDS)
def test_shift_and_order_change_nothing_and_scale_only_the_covariance(kind: Decorrelation) -> None:
    z = embeddings(9, 5)
    expected = decorrelation(z, kind)
    torch.testing.assert_close(decorrelation(z + 2.0, kind), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(decorrelation(z[:, [3, 0, 4, 1, 2]].flip(0), kind), expected)
    grown = 1.0 if kind == "correlation" else 3.0**4
    torch.testing.assert_close(decorrelation(3.0 * z, kind), grown * expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_independent_dimensions_are_best_and_copies_worst(kind: Decorrelation) -> None:
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert decorrelation(signs, kind).item() == pytest.approx(0.0, abs=1e-6)
    column = embeddings(30, 1)
    column = (column - column.mean()) / column.std()
    copies, other = column.expand(30, 8), embeddings(30, 8, seed=1)
    other = (other - other.mean(dim=0)) / other.std(dim=0)
    assert decorrelation(copies, kind).item() == pytest.approx(7.0, rel=1e-3)
    assert decorrelation(other, kind) < 1.0


@pytest.mark.parametrize(("n", "dim"), [(4, 6), (6, 4)])
@pytest.mark.parametrize("kind", KINDS)
def test_gradient(kind: Decorrelation, n: int, dim: int) -> None:
    z = embeddings(n, dim, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: decorrelation(x, kind), (z,))


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_dimension_has_a_finite_gradient(kind: Decorrelation) -> None:
    z = embeddings(6, 4)
    z[:, 2] = 1.0
    z.requires_grad_()
    decorrelation(z, kind).backward()
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_input_under_autocast_is_computed_in_float32(kind: Decorrelation) -> None:
    z = embeddings(8, 16).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = decorrelation(z, kind)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, decorrelation(z.float(), kind))


def test_refuses_what_has_no_meaning() -> None:
    with pytest.raises(ValueError, match="decorrelation='barlow' is unknown; choose from"):
        decorrelation(embeddings(3, 2), "barlow")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"1 embedding\(s\): a covariance needs at least 2"):
        decorrelation(embeddings(1, 2))


def gathered(z: Tensor, kind: Decorrelation) -> Tensor:
    return decorrelation(gather_rows(z), kind)


@pytest.mark.parametrize(("n", "dim"), [(8, 5), (4, 9)])
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_equal_one(kind: Decorrelation, n: int, dim: int) -> None:
    assert_equals_one_process(gathered, embeddings(n, dim).requires_grad_(), settings=(kind,))
