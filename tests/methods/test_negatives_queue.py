from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from unfused.core.distributed import rank
from unfused.methods.momentum import NegativesQueue

from ..losses.two_processes import in_two_processes


def axis(*numbers: int, dim: int = 12) -> Tensor:
    """Return unit vectors along the named axes, so that a key tells which one it is."""
    return torch.eye(dim)[list(numbers)]


def filled(size: int) -> NegativesQueue:
    queue = NegativesQueue(size, 12)
    queue.keys.zero_()
    return queue


def names(queue: NegativesQueue) -> list[int]:
    """Return the axis of every key, -1 where nothing was enqueued yet."""
    return [int(row.argmax()) if row.any() else -1 for row in queue.keys]


def test_keys_take_the_oldest_places_in_turn() -> None:
    queue = filled(5)
    queue.enqueue(axis(0, 1))
    assert names(queue) == [0, 1, -1, -1, -1]
    queue.enqueue(axis(2, 3))
    assert names(queue) == [0, 1, 2, 3, -1]
    queue.enqueue(axis(4, 5, 6))  # wraps around
    assert names(queue) == [5, 6, 2, 3, 4]
    queue.enqueue(axis(7))
    assert names(queue) == [5, 6, 7, 3, 4]
    assert queue.position.item() == 3


@pytest.mark.parametrize(
    ("before", "after"), [((), [2, 3, 4]), ((9,), [4, 2, 3]), ((9, 8), [3, 4, 2])]
)
def test_of_more_keys_than_places_the_last_stay(before: tuple, after: list[int]) -> None:
    queue = filled(3)
    queue.enqueue(axis(*before))
    queue.enqueue(axis(0, 1, 2, 3, 4))
    assert names(queue) == after
    queue.enqueue(axis(7))  # takes the place of 2, the oldest
    assert names(queue) == [7 if name == 2 else name for name in after]


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 10, 25])
def test_any_batch_size_equals_a_list(batch: int) -> None:
    torch.manual_seed(0)
    queue, expected = NegativesQueue(10, 4), []
    for _ in range(12):
        keys = F.normalize(torch.randn(batch, 4), dim=1)
        queue.enqueue(keys)
        expected = [*expected, *keys][-10:]
    oldest_first = queue.keys.roll(-queue.position.item(), dims=0)
    torch.testing.assert_close(oldest_first, torch.stack(expected))


def test_starts_full_of_different_directions() -> None:
    torch.manual_seed(0)
    queue = NegativesQueue(500, 16)
    torch.testing.assert_close(queue.keys.norm(dim=1), torch.ones(500))
    assert queue.keys.mean(dim=0).norm() < 0.1
    assert queue.position.item() == 0


def test_keys_are_normalised_and_in_float32() -> None:
    queue = NegativesQueue(4, 12)
    queue.enqueue(3.0 * axis(1, 2).bfloat16())
    assert queue.keys.dtype == torch.float32
    assert torch.equal(queue.keys[:2], axis(1, 2))


def test_keys_bring_no_gradient_in() -> None:
    queue = NegativesQueue(4, 3)
    queue.enqueue(torch.randn(2, 3, requires_grad=True))
    assert not queue.keys.requires_grad
    assert not list(queue.parameters())


def test_enqueueing_writes_in_place_and_copies_nothing() -> None:
    queue = NegativesQueue(6, 3)
    address, third = queue.keys.data_ptr(), queue.keys[2:].clone()
    queue.enqueue(torch.randn(2, 3))
    assert queue.keys.data_ptr() == address
    assert torch.equal(queue.keys[2:], third)


def test_state_dict_goes_on_where_it_stopped() -> None:
    torch.manual_seed(0)
    whole, first = NegativesQueue(7, 3), NegativesQueue(7, 3)
    first.load_state_dict(whole.state_dict())
    batches = torch.randn(6, 3, 3)
    for keys in batches[:4]:
        whole.enqueue(keys)
        first.enqueue(keys)
    second = NegativesQueue(7, 3)
    second.load_state_dict(first.state_dict())
    for keys in batches[4:]:
        whole.enqueue(keys)
        second.enqueue(keys)
    assert set(whole.state_dict()) == {"keys", "position"}
    assert torch.equal(second.keys, whole.keys)
    assert torch.equal(second.position, whole.position)


def test_similarity_is_the_mean_cosine() -> None:
    torch.manual_seed(0)
    queue, keys = NegativesQueue(9, 5), torch.randn(4, 5)
    pairs = F.cosine_similarity(keys[:, None], queue.keys[None], dim=2)
    torch.testing.assert_close(queue.similarity(keys), pairs.mean())


def test_similarity_after_a_collapse() -> None:
    queue = NegativesQueue(8, 12)
    queue.enqueue(axis(*[3] * 8))
    assert queue.similarity(2.0 * axis(3, 3)).item() == pytest.approx(1.0)
    assert queue.similarity(axis(4)).item() == pytest.approx(0.0)


def enqueue_half(batches: Tensor, size: int) -> dict[str, Tensor]:
    torch.manual_seed(0)
    queue = NegativesQueue(size, batches.shape[2])
    for keys in batches:
        queue.enqueue(keys.chunk(2)[rank()])
    return queue.state_dict()


@pytest.mark.parametrize("size", [5, 8, 30])
def test_two_processes_hold_the_queue_of_one(size: int) -> None:
    batches = torch.randn(3, 8, 4)
    results = in_two_processes(enqueue_half, batches, size)
    torch.manual_seed(0)
    queue = NegativesQueue(size, 4)
    for keys in batches:
        queue.enqueue(keys)
    for state in results:
        assert all(torch.equal(value, queue.state_dict()[name]) for name, value in state.items())


@pytest.mark.parametrize(("size", "dim"), [(0, 4), (4, 0), (-1, 4)])
def test_an_empty_queue_is_refused(size: int, dim: int) -> None:
    with pytest.raises(ValueError, match=f"queue of {size} keys of {dim} dimensions.*at least 1"):
        NegativesQueue(size, dim)
