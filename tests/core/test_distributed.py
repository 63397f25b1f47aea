"""Gathering over processes, and the tool that tests it."""

from __future__ import annotations

import os
import time

import pytest
import torch
from torch import Tensor
from torch import distributed as dist

from unfused.core.distributed import gather_rows, rank, world_size

from ..losses.two_processes import assert_equals_one_process, in_two_processes


def who() -> tuple[int, int, int]:
    return rank(), world_size(), os.getpid()


def shifted(rows: Tensor) -> Tensor:
    return gather_rows(rows + 10 * rank())


def gathered_gradient(rows: Tensor) -> tuple[Tensor, Tensor]:
    mine = (rows + rank()).requires_grad_()
    weights = torch.arange(1.0, 5.0)[:, None] * (1 + rank())  # each process asks for other things
    everything = gather_rows(mine)
    (everything * weights).sum().backward()
    assert mine.grad is not None
    return everything.detach(), mine.grad


def pairwise(z: Tensor, labels: Tensor, power: float) -> Tensor:
    """Mean over pairs of rows with equal label: every row needs all others."""
    z, labels = gather_rows(z), gather_rows(labels)
    same = labels[:, None] == labels
    return ((z @ z.T) ** power * same).mean()


def pairwise_alone(z: Tensor, labels: Tensor, power: float) -> Tensor:
    return ((z @ z.T) ** power * (labels[:, None] == labels)).mean()


def row_by_row(z: Tensor) -> Tensor:
    """Mean over the process's own rows; averaging does the rest."""
    return (z**3).sum(dim=1).mean()


def detached(z: Tensor, keys: Tensor) -> Tensor:
    return (gather_rows(z) @ gather_rows(keys).T).logsumexp(dim=1).mean()


def fails_in_one(number: int) -> int:
    if rank() == 1:
        raise RuntimeError(f"no luck with {number}")
    return number


def waits_for_the_other_in_vain() -> None:
    if rank() == 0:
        dist.barrier()
    else:
        time.sleep(60)


def dies() -> None:
    if rank() == 0:
        os._exit(7)


def test_without_a_group_there_is_one_process() -> None:
    rows = torch.ones(3, 2)
    assert (rank(), world_size()) == (0, 1)
    assert gather_rows(rows) is rows


def test_results_come_by_rank_and_processes_stay() -> None:
    first, second = in_two_processes(who), in_two_processes(who)
    assert [(r, n) for r, n, _ in first] == [(0, 2), (1, 2)]
    assert first == second
    assert os.getpid() not in {pid for _, _, pid in first}


def test_rows_come_in_the_order_of_ranks() -> None:
    rows = torch.arange(6).reshape(2, 3)
    expected = torch.cat([rows, rows + 10])
    for result in in_two_processes(shifted, rows):
        assert torch.equal(result, expected)


def test_a_gathered_row_gets_the_gradient_of_every_process() -> None:
    results = in_two_processes(gathered_gradient, torch.zeros(2, 3))
    for number, (everything, gradient) in enumerate(results):
        assert torch.equal(everything, torch.tensor([[0.0] * 3] * 2 + [[1.0] * 3] * 2))
        # weights (1 + rank) * (1, 2 | 3, 4), summed over ranks: 3 * (1, 2) and 3 * (3, 4)
        row = torch.tensor([3.0, 6.0]) + 6 * number
        assert torch.equal(gradient, row[:, None].expand(2, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_loss_of_all_rows_equals_one_process(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    z = torch.randn(8, 5, dtype=dtype, requires_grad=True)
    assert_equals_one_process(pairwise, z, torch.randint(3, (8,)), settings=(3.0,))
    assert_equals_one_process(row_by_row, z)
    assert_equals_one_process(detached, z, torch.randn(8, 5, dtype=dtype))


def test_a_loss_that_forgets_to_gather_is_caught() -> None:
    torch.manual_seed(0)
    z = torch.randn(8, 5, requires_grad=True)
    with pytest.raises(AssertionError, match="not close"):
        assert_equals_one_process(pairwise_alone, z, torch.randint(3, (8,)), settings=(3.0,))


def test_a_comparison_of_no_gradient_is_refused() -> None:
    with pytest.raises(AssertionError, match="requires_grad=True"):
        assert_equals_one_process(row_by_row, torch.ones(4, 2))


def test_failures_carry_their_traceback_and_leave_no_broken_group() -> None:
    with pytest.raises(AssertionError, match=r"(?s)process 1 failed.*no luck with 3"):
        in_two_processes(fails_in_one, 3)
    with pytest.raises(AssertionError, match="process 0 died with exit code 7"):
        in_two_processes(dies)
    assert [r for r, _, _ in in_two_processes(who)] == [0, 1]


def test_a_process_that_hangs_does_not_hang_the_test() -> None:
    in_two_processes(who)  # not to wait for the start
    with pytest.raises(AssertionError, match=r"process \[0, 1\] gave no answer within 1 s"):
        in_two_processes(waits_for_the_other_in_vain, timeout=1)


def test_functions_must_be_importable() -> None:
    with pytest.raises(AssertionError, match="top level"):
        in_two_processes(lambda: 1)
