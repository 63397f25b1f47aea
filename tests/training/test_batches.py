import threading

import numpy as np
import pytest
import torch

from unfused.training.batches import CropSource, crop_starts

from .toy_training import FRAMES, N_MELS, MemoryStore

LENGTHS = [3, 12, 40, 25, 7, 12, 90, 13, 30, 11]


def source_of(store=None, rows=None, **changes):
    arguments = {"crop_frames": FRAMES, "batch_size": 4, "seed": 0, **changes}
    store = store or MemoryStore(LENGTHS)
    return CropSource(store, np.arange(len(LENGTHS)) if rows is None else rows, **arguments)


def same(one, other):
    return torch.equal(one[0], other[0]) and all(
        torch.equal(a, b) for a, b in zip(one[1], other[1], strict=True)
    )


def test_a_batch_is_a_function_of_seed_and_step():
    with source_of() as source, source_of() as again, source_of(seed=1) as reseeded:
        forward = [source.batch(step) for step in range(6)]
        backward = [again.batch(step) for step in reversed(range(6))][::-1]
        assert all(same(one, other) for one, other in zip(forward, backward, strict=True))
        assert not same(forward[0], reseeded.batch(0))


def test_an_epoch_visits_every_clip_at_most_once():
    with source_of() as source:
        assert (source.n_clips, source.steps_per_epoch, source.clips_per_step) == (10, 2, 4)
        epochs = [
            torch.cat([source.batch(2 * epoch + i)[0] for i in range(2)]).tolist()
            for epoch in range(30)
        ]
    assert all(len(set(epoch)) == 8 for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert set(np.concatenate(epochs)) == set(range(10))  # another two are left out each time


def test_crops_are_what_the_clips_hold():
    store = MemoryStore(LENGTHS)
    with source_of(store) as source:
        clips, view = source.batch(3)
    assert view.log_mel.shape == (4, 1, N_MELS, FRAMES)
    for clip, log_mel, (first, end) in zip(
        clips.tolist(), view.log_mel, view.spans.int().tolist(), strict=True
    ):
        assert end - first == min(LENGTHS[clip], FRAMES)
        real = log_mel[0, :, first:end].T.numpy()
        windows = np.lib.stride_tricks.sliding_window_view(store.clips[clip], len(real), axis=0)
        assert any(np.array_equal(real, window.T) for window in windows)
        outside = torch.cat([log_mel[0, :, :first], log_mel[0, :, end:]], dim=1)
        assert (outside == store.pad_value).all()


def test_ids_are_indices_into_the_rows():
    rows = np.array([6, 2, 8])
    store = MemoryStore(LENGTHS)
    with source_of(store, rows) as source:
        ids, view = source.batch(0)
        assert sorted(ids.tolist()) == [0, 1, 2]
        i = ids.tolist().index(1)
        assert view.log_mel[i, 0, :, 0].numpy() in store.clips[2]


def test_starts_are_uniform_over_clip_and_padding():
    uniform = np.linspace(0, 1, 9000, endpoint=False)
    longer = np.bincount(crop_starts(np.full(9000, 20), 12, uniform))
    assert longer.tolist() == [1000] * 9
    shorter = np.bincount(-crop_starts(np.full(9000, 4), 12, uniform))
    assert shorter.tolist() == [1000] * 9
    assert set(crop_starts(np.full(9000, 12), 12, uniform)) == {0}


def test_a_sweep_shows_every_clip_once_in_order():
    with source_of(MemoryStore([20] * 150), np.arange(150)) as source:
        first, second = (list(source.sweep("embed", 0)) for _ in range(2))
        other = list(source.sweep("embed", 1))
    assert torch.cat([clips for clips, _ in first]).tolist() == list(range(150))
    assert len(first) == 3
    assert all(same(one, two) for one, two in zip(first, second, strict=True))
    assert not same(first[0], other[0])


def test_frames_on_the_device_give_the_same_batches():
    store = MemoryStore(LENGTHS)
    rows = np.array([9, 0, 4, 6, 1, 3])
    with source_of(store, rows) as source, source_of(store, rows, on_device=True) as resident:
        store.clips.clear()  # the second has copies
        with pytest.raises(IndexError):
            source.batch(0)
        resident_batches = [resident.batch(step) for step in range(8)]
    with source_of(MemoryStore(LENGTHS), rows) as source:
        for step, batch in enumerate(resident_batches):
            assert same(source.batch(step), batch)


def test_the_next_batch_is_gathered_in_the_background():
    class Slow(MemoryStore):
        def __init__(self):
            super().__init__(LENGTHS)
            self.threads = []

        def crops(self, rows, starts, length, **how):
            self.threads.append(threading.current_thread().name)
            return super().crops(rows, starts, length, **how)

    store = Slow()
    with source_of(store) as source:
        for step in range(3):
            source.batch(step)
    assert store.threads[0] == "MainThread"
    assert all(name.startswith("crops") for name in store.threads[1:])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("crops")]


def test_errors_in_the_background_are_raised_here():
    class Broken(MemoryStore):
        calls = 0

        def crops(self, rows, starts, length, **how):
            self.calls += 1
            if self.calls > 1:
                raise OSError("disk gone")
            return super().crops(rows, starts, length, **how)

    with source_of(Broken(LENGTHS)) as source:
        source.batch(0)
        with pytest.raises(OSError, match="disk gone"):
            source.batch(1)


def test_a_closed_source_can_be_used_again():
    source = source_of()
    batch = source.batch(0)
    source.close()
    assert same(source.batch(0), batch)
    source.close()


def test_several_crops_of_a_clip_lie_crop_after_crop():
    """The first crop of every clip, then the second of every clip ..., each from its own clip."""
    store = MemoryStore([40 + 7 * i for i in range(10)])
    with source_of(store, n_crops=3) as source:
        clips, view = source.batch(2)
    assert view.log_mel.shape == (12, 1, N_MELS, FRAMES)
    assert view.spans.shape == (12, 2)
    for row, log_mel in enumerate(view.log_mel):
        clip = store.clips[clips[row % 4]]
        windows = np.lib.stride_tricks.sliding_window_view(clip, FRAMES, axis=0)
        assert sum(np.array_equal(log_mel[0].numpy(), window) for window in windows) == 1
    assert len(np.unique(view.log_mel.flatten(1).numpy(), axis=0)) == 12  # all crops differ


def test_crops_of_a_clip_are_independent():
    """Starts of the two crops of one clip, over many steps: uniform pairs, not shifted copies."""
    store = MemoryStore([FRAMES + 3, FRAMES + 3])
    pairs = np.zeros((4, 4), dtype=int)
    with source_of(store, rows=np.arange(2), n_crops=2) as source:
        for step in range(400):
            clips, view = source.batch(step)
            for i, clip in enumerate(clips.tolist()):
                windows = np.lib.stride_tricks.sliding_window_view(store.clips[clip], FRAMES, 0)
                crops = (view.log_mel[i, 0].numpy(), view.log_mel[2 + i, 0].numpy())
                first, second = ((windows == crop).all(axis=(1, 2)).argmax() for crop in crops)
                pairs[first, second] += 1
    assert pairs.sum() == 800
    chi_square = ((pairs - 50) ** 2 / 50).sum()
    assert chi_square < 37.7  # 15 degrees of freedom: one in a thousand lies above


def test_several_crops_are_a_function_of_seed_and_step_and_where_frames_lie_does_not_matter():
    with source_of(n_crops=2) as source, source_of(n_crops=2, on_device=True) as resident:
        batches = [source.batch(step) for step in range(5)]
        assert all(same(resident.batch(step), batches[step]) for step in reversed(range(5)))


def test_one_crop_is_the_default_and_the_order_of_clips_is_that_of_one_crop():
    with source_of() as source, source_of(n_crops=1) as one, source_of(n_crops=2) as two:
        for step in range(5):
            assert same(source.batch(step), one.batch(step))
            assert torch.equal(source.batch(step)[0], two.batch(step)[0])


def test_a_sweep_shows_one_crop_of_a_clip_whatever_training_takes():
    with source_of() as one, source_of(n_crops=3) as three:
        pairs = zip(one.sweep("embed", 0), three.sweep("embed", 0), strict=True)
        assert all(same(*pair) for pair in pairs)


def test_a_source_needs_two_clips():
    with pytest.raises(ValueError, match="1 training clips: training needs at least 2"):
        source_of(rows=np.array([3]))
    with pytest.raises(ValueError, match="batch_size=1"):
        source_of(batch_size=1)
    with pytest.raises(ValueError, match="n_crops=0 must be at least 1"):
        source_of(n_crops=0)
