from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from unfused.core.distributed import gather_rows
from unfused.losses import cluster_contrast

from .two_processes import assert_equals_one_process


def reference(p_a: Tensor, p_b: Tensor, temperature: float) -> float:
    """The formula, in float64 and in a loop over the columns of both views."""
    columns = list(p_a.double().numpy().T) + list(p_b.double().numpy().T)
    n, half, total = len(columns), len(columns) // 2, 0.0

    def similarity(i: int, j: int) -> float:
        a, b = columns[i], columns[j]
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) / temperature

    for i in range(n):
        others = sum(np.exp(similarity(i, j)) for j in range(n) if j != i)
        total -= np.log(np.exp(similarity(i, (i + half) % n)) / others)
    return total / n


def probabilities(batch: int = 9, clusters: int = 4, dtype: torch.dtype = torch.float32) -> Tensor:
    return (2.0 * torch.randn(batch, clusters, dtype=dtype)).softmax(dim=1)


def test_by_hand() -> None:
    p_a = torch.eye(2)
    p_b = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    # every column is at right angles to its positive and equal to one of its two negatives
    loss = cluster_contrast(p_a, p_b, temperature=0.5)
    assert loss.item() == pytest.approx(np.log(2 + np.exp(2)))
    agreeing = cluster_contrast(p_a, p_a, temperature=0.5)
    assert agreeing.item() == pytest.approx(np.log(2 + np.exp(2)) - 2)


@pytest.mark.parametrize("temperature", [0.2, 1.0])
@pytest.mark.parametrize("clusters", [2, 5, 16])
def test_equals_a_loop_in_float64(clusters: int, temperature: float) -> None:
    torch.manual_seed(0)
    p_a, p_b = probabilities(clusters=clusters), probabilities(clusters=clusters)
    expected = reference(p_a, p_b, temperature)
    assert cluster_contrast(p_a, p_b, temperature).item() == pytest.approx(expected, rel=1e-5)


def test_clips_clusters_and_views_in_any_order() -> None:
    torch.manual_seed(0)
    p_a, p_b = probabilities(), probabilities()
    expected = cluster_contrast(p_a, p_b, 0.5, 0.3)
    clips, clusters = torch.randperm(9), torch.randperm(4)
    for a, b in ((p_b, p_a), (p_a[clips], p_b[clips]), (p_a[:, clusters], p_b[:, clusters])):
        torch.testing.assert_close(cluster_contrast(a, b, 0.5, 0.3), expected)


def test_moving_one_views_clips_alone_matters() -> None:
    torch.manual_seed(0)
    p_a = probabilities(64, 4)
    assert cluster_contrast(p_a, p_a, 0.5) < cluster_contrast(p_a, p_a.roll(1, dims=0), 0.5) - 0.1


def test_entropy_term_is_nothing_for_even_clusters_and_log_c_for_one_cluster() -> None:
    even, one = torch.eye(4).repeat(3, 1), torch.eye(4)[[2] * 12] + 1e-20
    for p, expected in ((even, 0.0), (one, 2 * np.log(4))):
        extra = cluster_contrast(p, p, 1.0, entropy_weight=1.0) - cluster_contrast(p, p, 1.0)
        assert extra.item() == pytest.approx(expected, abs=1e-5)
    half = cluster_contrast(one, one, 1.0, entropy_weight=0.5) - cluster_contrast(one, one, 1.0)
    assert half.item() == pytest.approx(np.log(4), rel=1e-5)


@pytest.mark.parametrize("entropy_weight", [0.0, 1.0])
def test_gradient(entropy_weight: float) -> None:
    torch.manual_seed(0)
    p_a, p_b = (probabilities(5, 3, torch.float64).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(
        lambda a, b: cluster_contrast(a, b, 0.7, entropy_weight), (p_a, p_b)
    )


def test_minimising_it_makes_the_views_agree_and_the_clusters_differ() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 32, 4, requires_grad=True)
    optimiser = torch.optim.Adam([logits], 0.1)
    for _ in range(150):
        p_a, p_b = logits.softmax(dim=2)
        loss = cluster_contrast(p_a, p_b, 1.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert (p_a.argmax(dim=1) == p_b.argmax(dim=1)).float().mean() > 0.95
    assert p_a.argmax(dim=1).unique().tolist() == [0, 1, 2, 3]
    assert loss.item() == pytest.approx(np.log(np.e + 6) - 1, abs=0.02)  # the least there is


@pytest.mark.parametrize("entropy_weight", [0.0, 1.0])
def test_empty_clusters_are_finite(entropy_weight: float) -> None:
    logits = torch.tensor([[0.0, 1.0, -200.0]]).repeat(4, 1).requires_grad_()
    p = logits.softmax(dim=1)
    assert p[0, 2] == 0.0
    loss = cluster_contrast(p, p, 1.0, entropy_weight)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_bfloat16_under_autocast_is_computed_in_float32() -> None:
    torch.manual_seed(0)
    p_a, p_b = probabilities(128, 32), probabilities(128, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = cluster_contrast(p_a.bfloat16().requires_grad_(), p_b.bfloat16(), 0.5, 1.0)
    assert loss.dtype == torch.float32
    same = cluster_contrast(p_a.bfloat16().float(), p_b.bfloat16().float(), 0.5, 1.0)
    torch.testing.assert_close(loss.detach(), same)
    torch.testing.assert_close(same, cluster_contrast(p_a, p_b, 0.5, 1.0), rtol=0.01, atol=0.0)


def of_all_rows(p_a: Tensor, p_b: Tensor, entropy_weight: float) -> Tensor:
    return cluster_contrast(gather_rows(p_a), gather_rows(p_b), 0.5, entropy_weight)


@pytest.mark.parametrize("entropy_weight", [0.0, 1.0])
def test_two_processes_equal_one(entropy_weight: float) -> None:
    torch.manual_seed(0)
    views = (probabilities(8).requires_grad_() for _ in range(2))
    assert_equals_one_process(of_all_rows, *views, settings=(entropy_weight,))


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (((4, 3), (4, 2)), r"shapes \(4, 3\) and \(4, 2\).*same shape"),
        (((4, 1), (4, 1)), "at least 2 clusters"),
        (((4,), (4,)), r"same shape \(B, C\)"),
    ],
)
def test_refuses_what_are_no_two_views(shapes: tuple, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        cluster_contrast(*(torch.ones(shape) for shape in shapes))


def test_temperature_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"temperature=0.0 must be positive"):
        cluster_contrast(torch.eye(2), torch.eye(2), 0.0)
