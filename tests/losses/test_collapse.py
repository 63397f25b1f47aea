from __future__ import annotations

import pytest
import torch

from unfused.losses.collapse import effective_rank, embedding_health, perplexity


def test_collapsed_embeddings_have_neither_spread_nor_rank() -> None:
    health = embedding_health(torch.ones(16, 8))
    assert health["std"].item() == pytest.approx(0.0, abs=1e-6)
    assert health["effective_rank"].item() == pytest.approx(0.0, abs=1e-6)


def test_isotropic_embeddings_are_spread_over_all_directions() -> None:
    torch.manual_seed(0)
    health = embedding_health(torch.randn(20_000, 8))
    assert health["std"].item() == pytest.approx(1.0, abs=0.01)
    assert health["effective_rank"].item() == pytest.approx(8.0, abs=0.05)


@pytest.mark.parametrize("shape", [(12, 30), (30, 12)])
def test_rank_equals_that_of_the_covariance_eigenvalues(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    z = torch.randn(shape) * torch.linspace(0.1, 3.0, shape[1])
    eigenvalues = torch.linalg.eigvalsh(torch.cov(z.double().T))
    expected = eigenvalues.sum() ** 2 / eigenvalues.square().sum()
    assert effective_rank(z).item() == pytest.approx(expected.item(), rel=1e-4)


def test_rank_ignores_scale_offset_and_rotation() -> None:
    torch.manual_seed(0)
    z = torch.randn(40, 6) * torch.arange(1.0, 7.0)
    rotation = torch.linalg.qr(torch.randn(6, 6)).Q
    torch.testing.assert_close(
        effective_rank(1e-4 * z @ rotation + 0.1), effective_rank(z), rtol=1e-2, atol=0.0
    )


def test_half_precision_under_autocast() -> None:
    torch.manual_seed(0)
    z = torch.randn(64, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        health = embedding_health(z.bfloat16().requires_grad_())
    assert not any(value.requires_grad for value in health.values())
    torch.testing.assert_close(health["effective_rank"], effective_rank(z), rtol=0.01, atol=0.0)


def test_perplexity_counts_outcomes() -> None:
    assert perplexity(torch.ones(5)).item() == pytest.approx(5.0)
    assert perplexity(torch.tensor([0.0, 7.0])).item() == pytest.approx(1.0)
