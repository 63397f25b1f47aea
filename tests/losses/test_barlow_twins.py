from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from unfused.core.distributed import gather_rows
from unfused.losses import barlow_twins
from unfused.losses.barlow_twins import correlation_health, cross_correlation, redundancy_reduction

from .two_processes import assert_equals_one_process

SHAPES = [(4, 3), (9, 5), (6, 12), (5, 40), (16, 31), (16, 32)]  # from N > D to 2 N <= D


def two_views(
    n: int, dim: int, dtype: torch.dtype = torch.float32, seed: int = 0
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.randn(2, n, dim, generator=generator, dtype=dtype)
    return 2.0 * first + 3.0, first - 0.5 * second


def reference(z_a: Tensor, z_b: Tensor, weight: float, scale: float) -> float:
    """The formula in float64, entry by entry."""
    columns = []
    for z in (z_a, z_b):
        rows = z.double().numpy()
        columns.append((rows - rows.mean(0)) / np.sqrt(rows.var(0) + 1e-5))
    total = 0.0
    for i in range(z_a.shape[1]):
        for j in range(z_a.shape[1]):
            c = float(columns[0][:, i] @ columns[1][:, j]) / len(z_a)
            total += (1 - c) ** 2 if i == j else weight * c**2
    return scale * total


def the_plain_way(z_a: Tensor, z_b: Tensor, weight: float) -> Tensor:
    """Torch's own batch norm and the D x D matrix, without any short cut."""
    a, b = (F.batch_norm(z, None, None, training=True) for z in (z_a, z_b))
    matrix = a.T @ b / len(z_a)
    same = torch.eye(len(matrix), dtype=torch.bool)
    return (1 - matrix[same]).square().sum() + weight * matrix[~same].square().sum()


def test_by_hand() -> None:
    # a = (-1, -1, 1, 1), (-1, 1, -1, 1); b = a's first column twice: C = ((1, 1), (0, 0))
    z_a = torch.tensor([[0.0, 5.0], [0.0, 7.0], [8.0, 5.0], [8.0, 7.0]])
    z_b = z_a[:, [0, 0]] * 0.5 - 1.0
    loss = barlow_twins(z_a, z_b, redundancy_weight=0.25, scale=2.0)
    assert loss.item() == pytest.approx(2.0 * ((1 - 1) ** 2 + (1 - 0) ** 2 + 0.25 * 1.0), rel=1e-4)
    diagonal, off_diagonal = cross_correlation(z_a, z_b)
    torch.testing.assert_close(diagonal, torch.tensor([1.0, 0.0]), rtol=0, atol=1e-4)
    assert off_diagonal.item() == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize(("n", "dim"), SHAPES)
@pytest.mark.parametrize(("weight", "scale"), [(0.0051, 1.0), (1.0, 5e-5 / 32)])
def test_equals_the_formula_in_float64(n: int, dim: int, weight: float, scale: float) -> None:
    single, double = two_views(n, dim), two_views(n, dim, torch.float64)
    expected = reference(*double, weight, scale)
    assert barlow_twins(*double, weight, scale).item() == pytest.approx(expected, rel=1e-12)
    expected = reference(*single, weight, scale)
    assert barlow_twins(*single, weight, scale).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("n", "dim"), [*SHAPES, (32, 257)])
def test_value_and_gradient_equal_the_plain_ways(n: int, dim: int) -> None:
    mine = [z.requires_grad_() for z in two_views(n, dim, torch.float64)]
    theirs = [z.detach().clone().requires_grad_() for z in mine]
    loss, expected = barlow_twins(*mine), the_plain_way(*theirs, 0.0051)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0.0)
    loss.backward()
    expected.backward()
    for z, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(z.grad, other.grad, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize(("n", "dim"), [(64, 16), (16, 64)])
def test_equals_lightly_in_value_and_gradient(n: int, dim: int) -> None:
    lightly = pytest.importorskip("lightly.loss").BarlowTwinsLoss(lambda_param=0.0051)
    mine = [z.requires_grad_() for z in two_views(n, dim, torch.float64)]
    theirs = [z.detach().clone().requires_grad_() for z in mine]
    loss, expected = barlow_twins(*mine, redundancy_weight=0.0051), lightly(*theirs)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0.0)
    loss.backward()
    expected.backward()
    for z, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(z.grad, other.grad, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize(("n", "dim"), [(64, 127), (64, 128)])
def test_the_matrix_is_built_only_where_it_is_cheaper(
    monkeypatch: pytest.MonkeyPatch, n: int, dim: int
) -> None:
    shapes = []

    def matmul(a: Tensor, b: Tensor) -> Tensor:
        shapes.append((a.shape[0], b.shape[1]))
        return torch.matmul(a, b)

    monkeypatch.setattr(Tensor, "__matmul__", matmul)
    cross_correlation(*two_views(n, dim))
    assert shapes == ([(n, n), (n, n)] if dim == 128 else [(dim, dim)])


@pytest.mark.parametrize(("n", "dim"), [(12, 5), (5, 12)])
def test_what_changes_nothing(n: int, dim: int) -> None:
    z_a, z_b = two_views(n, dim, torch.float64)
    expected = barlow_twins(z_a, z_b, 0.3)
    samples, dims = torch.randperm(n), torch.randperm(dim)
    signs = torch.where(torch.arange(dim) % 2 == 0, 1.0, -1.0)
    same = [
        (z_b, z_a),
        (z_a[samples], z_b[samples]),
        (z_a[:, dims], z_b[:, dims]),
        (z_a * signs, z_b * signs),
        (100.0 * z_a - 7.0, 30.0 * z_b + 2.0),
    ]
    for views in same:
        torch.testing.assert_close(barlow_twins(*views, 0.3), expected, rtol=1e-4, atol=0.0)
    assert barlow_twins(z_a, z_b[samples], 0.3) > 1.1 * expected


def test_the_best_and_the_worst() -> None:
    # the columns of a Hadamard matrix, the constant one left out, are uncorrelated
    one = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    best = torch.kron(torch.kron(one, one), one)[:, 1:]
    assert barlow_twins(best, best).item() == pytest.approx(0.0, abs=1e-8)
    assert barlow_twins(best, -best).item() == pytest.approx(4 * 7, rel=1e-4)
    copies = best[:, :1].expand(8, 20)
    assert barlow_twins(copies, copies, 0.5).item() == pytest.approx(0.5 * 20 * 19, rel=1e-4)


@pytest.mark.parametrize("dim", [4, 30])
def test_a_collapse_costs_the_whole_diagonal_and_stays_finite(dim: int) -> None:
    same = torch.ones(6, dim, requires_grad=True)
    correlation = cross_correlation(same, same)
    loss = redundancy_reduction(correlation, 0.0051)
    loss.backward()
    assert loss.item() == dim
    assert same.grad is not None
    assert torch.isfinite(same.grad).all()
    assert correlation_health(correlation)["correlation"].item() == 0.0


@pytest.mark.parametrize(("n", "dim"), [(6, 4), (4, 8)])
def test_gradient(n: int, dim: int) -> None:
    views = [z.requires_grad_() for z in two_views(n, dim, torch.float64)]
    assert torch.autograd.gradcheck(lambda a, b: barlow_twins(a, b, 0.7, 0.1), views)


@pytest.mark.parametrize(("n", "dim"), [(64, 32), (32, 64)])
def test_minimising_it_makes_views_agree_and_dimensions_differ(n: int, dim: int) -> None:
    torch.manual_seed(0)
    z_a, z_b = (torch.randn(n, dim, requires_grad=True) for _ in range(2))
    optimiser = torch.optim.Adam([z_a, z_b], 0.05)
    before = correlation_health(cross_correlation(z_a, z_b))
    for _ in range(100):
        optimiser.zero_grad()
        barlow_twins(z_a, z_b, 0.05).backward()
        optimiser.step()
    after = correlation_health(cross_correlation(z_a, z_b))
    assert before["correlation"].abs() < 0.1
    assert after["correlation"] > 0.9
    # n samples have n - 1 directions, so that dim dimensions cannot all be uncorrelated
    least = max(0.0, dim / (n - 1) - 1) / (dim - 1)
    assert after["redundancy"] < least + 0.25 * (before["redundancy"])


@pytest.mark.parametrize(("n", "dim"), [(64, 32), (32, 64)])
def test_bfloat16_under_autocast_is_computed_in_float32(n: int, dim: int) -> None:
    z_a, z_b = two_views(n, dim)
    halves = (z_a.bfloat16().requires_grad_(), z_b.bfloat16().requires_grad_())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = barlow_twins(*halves)
    assert loss.dtype == torch.float32
    same = barlow_twins(*(half.detach().float() for half in halves))
    torch.testing.assert_close(loss.detach(), same)
    torch.testing.assert_close(same, barlow_twins(z_a, z_b), rtol=0.01, atol=0.0)
    loss.backward()
    assert all(torch.isfinite(half.grad).all() for half in halves)


def test_health_does_not_depend_on_the_number_of_dimensions() -> None:
    for dim in (8, 512):
        z, other = two_views(64, dim)
        health = correlation_health(cross_correlation(z, z.roll(1, dims=1)))
        assert abs(health["correlation"].item()) < 0.2
        same = correlation_health(cross_correlation(z, z))
        assert same["correlation"].item() == pytest.approx(1.0, abs=1e-4)
        assert same["redundancy"].item() == pytest.approx(1 / 64, rel=0.4)
        assert not health["correlation"].requires_grad
    assert correlation_health(cross_correlation(z[:, :1], other[:, :1]))["redundancy"] == 0.0


def of_all_rows(z_a: Tensor, z_b: Tensor) -> Tensor:
    return barlow_twins(gather_rows(z_a), gather_rows(z_b), 0.05)


@pytest.mark.parametrize(("n", "dim"), [(12, 5), (12, 40)])
def test_two_processes_have_the_loss_of_one(n: int, dim: int) -> None:
    views = (z.requires_grad_() for z in two_views(n, dim))
    assert_equals_one_process(of_all_rows, *views)


@pytest.mark.parametrize(
    ("shape_a", "shape_b"), [((4, 3), (4, 2)), ((3, 4), (4, 4)), ((4,), (4,)), ((1, 4), (1, 4))]
)
def test_refuses_what_are_no_two_views(shape_a: tuple, shape_b: tuple) -> None:
    with pytest.raises(ValueError, match=r"same shape \(N, D\) with at least 2 samples"):
        barlow_twins(torch.ones(shape_a), torch.ones(shape_b))
