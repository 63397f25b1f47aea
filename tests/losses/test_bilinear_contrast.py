from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from unfused.core.distributed import gather_rows
from unfused.losses import bilinear_contrast
from unfused.losses.bilinear_contrast import bilinear_similarity

from .two_processes import assert_equals_one_process


def three(n: int = 6, dim: int = 5, **kind: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, n, dim, generator=generator, **kind)
    return x, y, torch.randn(dim, dim, generator=generator, **kind)


def reference(x: Tensor, y: Tensor, weight: Tensor) -> float:
    """One similarity after the other, in float64."""
    rows, columns, matrix = (part.double().numpy() for part in (x, y, weight))
    total = 0.0
    for i, row in enumerate(rows):
        scores = [float(row @ matrix @ column) for column in columns]
        top = max(scores)
        total += np.log(sum(np.exp(score - top) for score in scores)) + top - scores[i]
    return total / len(rows)


def test_by_hand() -> None:
    weight = torch.tensor([[0.0, 1.0], [2.0, 0.0]])  # x^T W y = x_1 y_2 + 2 x_2 y_1
    x, y = torch.eye(2), torch.tensor([[0.0, 1.0], [1.0, 3.0]])
    # anchor 1 scores 1 (its own) and 3; anchor 2 scores 0 and 2 (its own)
    loss, found = bilinear_contrast(x, y, weight)
    assert loss.item() == pytest.approx((np.log1p(np.exp(2)) + np.log1p(np.exp(-2))) / 2)
    assert found.item() == 0.5


def test_equals_a_loop_in_float64() -> None:
    parts = three()
    loss, _ = bilinear_contrast(*parts)
    assert loss.item() == pytest.approx(reference(*parts), rel=1e-5)


def test_similarity_equals_torchs_bilinear_form() -> None:
    x, y, weight = three(dtype=torch.float64)
    pairs = F.bilinear(x.repeat_interleave(len(y), dim=0), y.repeat(len(x), 1), weight.unsqueeze(0))
    torch.testing.assert_close(bilinear_similarity(x, y, weight), pairs.view(len(x), len(y)))


def test_the_matrix_need_not_be_symmetric() -> None:
    x, y, weight = three()
    swapped = bilinear_contrast(x, y, weight.T)[0]
    assert not torch.isclose(bilinear_contrast(x, y, weight)[0], swapped)
    torch.testing.assert_close(
        bilinear_similarity(x, y, weight), bilinear_similarity(y, x, weight.T).T
    )


def test_order_and_a_change_of_basis_change_nothing() -> None:
    x, y, weight = three(dtype=torch.float64)
    expected, found = bilinear_contrast(x, y, weight)
    order = torch.randperm(len(x))
    again, found_again = bilinear_contrast(x[order], y[order], weight)
    torch.testing.assert_close(again, expected)
    assert found == found_again
    basis = torch.randn(5, 5, dtype=torch.float64)
    moved = bilinear_contrast(x @ basis, y, torch.linalg.solve(basis, weight))[0]
    torch.testing.assert_close(moved, expected)


def test_all_alike_is_chance() -> None:
    same = torch.ones(8, 3)
    loss, _ = bilinear_contrast(same, same, torch.eye(3))
    assert loss.item() == pytest.approx(np.log(8))


def test_gradient() -> None:
    x, y, weight = (part.requires_grad_() for part in three(4, 3, dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda *parts: bilinear_contrast(*parts)[0], (x, y, weight))


def test_bfloat16_input_under_autocast_is_computed_in_float32() -> None:
    x, y, weight = three()
    x, y = x.bfloat16(), y.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = bilinear_contrast(x, y, weight)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, bilinear_contrast(x.float(), y.float(), weight)[0])


@pytest.mark.parametrize(("n_anchors", "n_positives"), [(1, 1), (3, 2), (2, 3)])
def test_every_anchor_needs_its_positive_and_a_negative(n_anchors: int, n_positives: int) -> None:
    with pytest.raises(ValueError, match=f"{n_anchors} anchors and {n_positives} positives"):
        bilinear_contrast(torch.ones(n_anchors, 2), torch.ones(n_positives, 2), torch.eye(2))


def gathered(anchors: Tensor, positives: Tensor, weight: Tensor) -> Tensor:
    return bilinear_contrast(gather_rows(anchors), gather_rows(positives), weight)[0]


def test_two_processes_equal_one() -> None:
    """So every process's rows are negatives for those of the others."""
    x, y, weight = three()
    assert_equals_one_process(gathered, x.requires_grad_(), y.requires_grad_(), settings=(weight,))
