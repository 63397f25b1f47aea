from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from unfused.losses import info_nce
from unfused.losses.info_nce import contrast, info_nce_logits, instance_accuracy

from .two_processes import assert_equals_one_process


def reference(queries: Tensor, keys: Tensor, negatives: Tensor, temperature: float) -> float:
    """The formula, in float64 and in a loop."""
    total = 0.0
    for query, key in zip(queries.double().numpy(), keys.double().numpy(), strict=True):
        query, key = query / np.linalg.norm(query), key / np.linalg.norm(key)
        others = [np.exp(query @ n / temperature) for n in negatives.double().numpy()]
        own = np.exp(query @ key / temperature)
        total -= np.log(own / (own + sum(others)))
    return total / len(queries)


def random_case(
    batch: int = 6, n_negatives: int = 20, dim: int = 5, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    rows = torch.randn(2 * batch + n_negatives, dim, dtype=dtype)
    queries, keys, negatives = rows.split([batch, batch, n_negatives])
    return queries.clone(), keys.clone(), F.normalize(negatives, dim=1)


def test_by_hand() -> None:
    queries = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    keys = torch.tensor([[5.0, 0.0], [3.0, 0.0]])
    negatives = torch.tensor([[0.0, 1.0], [0.0, -1.0]])
    # query 1: positive 1, negatives 0, 0; query 2: positive 0, negatives 1, -1; all over 0.5
    one = np.log(np.exp(2) + 2) - 2
    two = np.log(1 + np.exp(2) + np.exp(-2))
    assert info_nce(queries, keys, negatives, 0.5).item() == pytest.approx((one + two) / 2)


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
def test_equals_a_loop_in_float64(temperature: float) -> None:
    case = random_case()
    expected = reference(*case, temperature)
    assert info_nce(*case, temperature).item() == pytest.approx(expected, rel=1e-5)
    exact = info_nce(*random_case(dtype=torch.float64), temperature)
    again = reference(*random_case(dtype=torch.float64), temperature)
    assert exact.item() == pytest.approx(again, rel=1e-12)


def test_equals_torchs_cross_entropy_of_the_joined_logits_in_value_and_gradient() -> None:
    queries, keys, negatives = random_case(dtype=torch.float64)
    mine, theirs = queries.clone().requires_grad_(), queries.clone().requires_grad_()
    loss = info_nce(mine, keys, negatives, 0.07)
    q, k = F.normalize(theirs, dim=1), F.normalize(keys, dim=1)
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ negatives.T], dim=1) / 0.07
    expected = F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long))
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(mine.grad, theirs.grad)


def test_lengths_rotation_and_the_order_of_negatives_change_nothing() -> None:
    queries, keys, negatives = random_case()
    expected = info_nce(queries, keys, negatives, 0.1)
    scaled = info_nce(3.0 * queries, 0.01 * keys, negatives, 0.1)
    shuffled = info_nce(queries, keys, negatives[torch.randperm(len(negatives))], 0.1)
    rotation = torch.linalg.qr(torch.randn(5, 5)).Q
    rotated = info_nce(queries @ rotation, keys @ rotation, negatives @ rotation, 0.1)
    for other in (scaled, shuffled, rotated):
        torch.testing.assert_close(other, expected, rtol=1e-5, atol=1e-6)


def test_a_batch_is_the_mean_of_its_queries() -> None:
    queries, keys, negatives = random_case()
    single = [
        info_nce(q[None], k[None], negatives, 0.1) for q, k in zip(queries, keys, strict=True)
    ]
    torch.testing.assert_close(info_nce(queries, keys, negatives, 0.1), torch.stack(single).mean())


def test_collapse_costs_log_of_all_keys() -> None:
    same = F.normalize(torch.ones(4, 3), dim=1)
    loss = info_nce(same, same, same[:1].expand(31, 3), 0.07)
    assert loss.item() == pytest.approx(np.log(32), rel=1e-5)


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_gradient(temperature: float) -> None:
    queries, keys, negatives = random_case(3, 7, 4, torch.float64)
    inputs = (queries.requires_grad_(), keys.requires_grad_(), negatives.requires_grad_())
    assert torch.autograd.gradcheck(lambda *given: info_nce(*given, temperature), inputs)


def test_extreme_logits_stay_finite() -> None:
    queries, _, negatives = random_case()
    queries.requires_grad_()
    for sign in (1.0, -1.0):
        loss = info_nce(queries, sign * queries.detach(), negatives, 1e-4)
        (gradient,) = torch.autograd.grad(loss, queries)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()


def test_bfloat16_under_autocast_is_computed_in_float32() -> None:
    queries, keys, negatives = random_case(64, 512, 32)
    halves = (queries.bfloat16().requires_grad_(), keys.bfloat16(), negatives)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = info_nce(*halves, 0.07)
    assert loss.dtype == torch.float32
    same = info_nce(halves[0].detach().float(), halves[1].float(), negatives, 0.07)
    torch.testing.assert_close(loss.detach(), same)
    torch.testing.assert_close(same, info_nce(queries, keys, negatives, 0.07), rtol=0.01, atol=0.0)
    loss.backward()
    assert torch.isfinite(halves[0].grad).all()


def test_accuracy_counts_the_queries_whose_own_key_is_nearest() -> None:
    queries = torch.eye(4)
    keys = torch.tensor([[1.0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [1, 0, 0, 0]])
    negatives = torch.tensor([[0.0, 0.9, 0.0, 0.0], [0.0, 0.0, 0.0, 0.5]])
    logits = info_nce_logits(queries.requires_grad_(), keys, negatives, 0.07)
    accuracy = instance_accuracy(*logits)
    assert accuracy.item() == pytest.approx(0.5)  # the second loses to 0.9, the fourth to 0.5
    assert not accuracy.requires_grad


def test_after_a_collapse_the_accuracy_is_nothing() -> None:
    torch.manual_seed(0)
    same = torch.randn(1, 128).expand(16, 128)
    negatives = F.normalize(same, dim=1)
    for scale in (0.3, 1.0, 7.0):
        logits = info_nce_logits(scale * same, same, negatives, 0.07)
        assert instance_accuracy(*logits).item() == 0.0


def test_logits_are_the_cosines_over_the_temperature() -> None:
    queries, keys, negatives = random_case()
    positive, negative = info_nce_logits(queries, keys, negatives, 0.25)
    torch.testing.assert_close(positive, 4 * F.cosine_similarity(queries, keys))
    expected = 4 * F.cosine_similarity(queries[:, None], negatives[None], dim=2)
    torch.testing.assert_close(negative, expected)
    torch.testing.assert_close(
        contrast(positive, negative), info_nce(queries, keys, negatives, 0.25)
    )


def test_two_processes_equal_one() -> None:
    queries, keys, negatives = random_case(8)
    assert_equals_one_process(info_nce, queries.requires_grad_(), keys, settings=(negatives, 0.07))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_temperature_must_be_positive(temperature: float) -> None:
    with pytest.raises(ValueError, match=r"temperature=.* must be positive"):
        info_nce(torch.eye(2), torch.eye(2), torch.eye(2), temperature)
