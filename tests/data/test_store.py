from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from unfused.data.log_mel import FrontEnd
from unfused.data.shards import STORE_FILE, Clip, finish_store, shard_file, write_shard
from unfused.data.store import LogMelStore, StoreError

LENGTHS = [30, 96, 1, 250, 97, 12, 180]


def make_store(folder: Path, prefix: str = "clip", seed: int = 0) -> tuple[LogMelStore, list]:
    """A store of three shards and the float32 log-mels it was made from."""
    rng, folder = np.random.default_rng(seed), folder / prefix
    folder.mkdir(parents=True)
    clips = [rng.normal(-6, 4, (n, 64)).astype(np.float32) for n in LENGTHS]
    rows: list[tuple[object, ...]] = []
    for shard in range(3):
        numbers = range(shard, len(clips), 3)
        whole = [Clip.of([clips[i]]) for i in numbers]
        places = write_shard(shard_file(folder, shard), whole, 64)
        rows += [(f"{prefix}{i}", f"d{i}", shard, *p) for i, p in zip(numbers, places, strict=True)]
    finish_store(folder, FrontEnd(), rows)
    store = LogMelStore.open(folder, FrontEnd())
    return store, [clips[int(name.removeprefix(prefix))] for name in store.clip_ids]


def crop_by_hand(clip: np.ndarray, start: int, length: int, pad: float) -> np.ndarray:
    out = np.full((length, clip.shape[1]), pad, np.float32)
    for i in range(length):
        if 0 <= start + i < len(clip):
            out[i] = clip[start + i]
    return out


def test_crops_equal_slicing_one_by_one(tmp_path: Path) -> None:
    store, clips = make_store(tmp_path)
    rng = np.random.default_rng(1)
    rows = rng.integers(0, len(store), 200)
    starts = rng.integers(-120, 260, 200)
    crops, spans = store.crops(rows, starts, 96)
    assert crops.dtype == torch.float32
    for i, (row, start) in enumerate(zip(rows, starts, strict=True)):
        stored = clips[row].astype(np.float16).astype(np.float32)
        expected = crop_by_hand(stored, start, 96, FrontEnd().pad_value)
        np.testing.assert_array_equal(crops[i].numpy(), expected)
        real = [j for j in range(96) if 0 <= start + j < len(stored)]
        if real:
            assert spans[i].tolist() == [real[0], real[-1] + 1]
        else:
            assert spans[i, 0] == spans[i, 1]


def test_crops_take_tensors(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path)
    rows, starts = torch.tensor([3, 0]), torch.tensor([4, -3])
    crops, spans = store.crops(rows, starts, 50)
    expected, same = store.crops(rows.numpy(), starts.numpy(), 50)
    torch.testing.assert_close(crops, expected)
    torch.testing.assert_close(spans, same)
    empty, none = store.crops(np.empty(0, np.int64), np.empty(0, np.int64), 96)
    assert empty.shape == (0, 96, 64)
    assert none.shape == (0, 2)


def test_float16_keeps_log_mels_within_a_hundredth(tmp_path: Path) -> None:
    store, clips = make_store(tmp_path)
    for row, clip in enumerate(clips):
        np.testing.assert_allclose(store.clip(row), clip, atol=1e-2)


def test_statistics_are_those_of_the_unrounded_values(tmp_path: Path) -> None:
    store, clips = make_store(tmp_path)
    rows = [0, 3, 6]
    values = np.concatenate([clips[row] for row in rows]).astype(np.float64)
    mean, std = store.statistics(rows)
    assert mean == pytest.approx(values.mean(), abs=1e-9)
    assert std == pytest.approx(values.std(), abs=1e-9)
    with pytest.raises(StoreError, match="at least one"):
        store.statistics([])


def test_time_means(tmp_path: Path) -> None:
    store, clips = make_store(tmp_path)
    expected = np.stack([clips[row].mean(axis=0) for row in (5, 1)])
    np.testing.assert_allclose(store.time_means([5, 1]), expected, atol=1e-2)


def test_rows_finds_clips_and_names_missing_ones(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path)
    ids = store.clip_ids[[4, 2, 2]]
    assert store.rows(ids).tolist() == [4, 2, 2]
    with pytest.raises(StoreError, match=r"1 of 2 clips are not in .*nobody"):
        store.rows([ids[0], "nobody"])


def test_union_concatenates(tmp_path: Path) -> None:
    (first, clips_a), (second, clips_b) = make_store(tmp_path, "a"), make_store(tmp_path, "b", 1)
    union = LogMelStore.union([first, second])
    assert union.clip_ids.tolist() == [*first.clip_ids, *second.clip_ids]
    for row, clip in enumerate([*clips_a, *clips_b]):
        np.testing.assert_allclose(union.clip(row), clip, atol=1e-2)
    rows = np.array([0, len(first) + 3, 3])
    crops, _ = union.crops(rows, np.zeros(3, int), 20)
    torch.testing.assert_close(crops[1], second.crops([3], [0], 20)[0][0])
    again = pickle.loads(pickle.dumps(union))
    torch.testing.assert_close(again.crops(rows, np.zeros(3, int), 20)[0], crops)


def test_union_takes_a_shared_clip_once(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path)
    union = LogMelStore.union([store, store])
    assert union.clip_ids.tolist() == store.clip_ids.tolist()
    np.testing.assert_array_equal(union.clip(0), store.clip(0))


def test_union_refuses_other_front_ends_and_nothing(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path)
    with pytest.raises(StoreError, match="at least one"):
        LogMelStore.union([])
    other = FrontEnd(hop=200)
    foreign = LogMelStore.write(tmp_path / "other", other, {"x": np.zeros((3, 64), np.float32)})
    with pytest.raises(StoreError, match="hop=200"):
        LogMelStore.union([store, foreign])


def test_open_refuses_another_front_end(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path)
    with pytest.raises(StoreError, match=r"hop=160.*hop=200"):
        LogMelStore.open(store.path, FrontEnd(hop=200))


def test_open_refuses_what_is_missing_or_unfinished(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path)
    with pytest.raises(StoreError, match="does not exist"):
        LogMelStore.open(tmp_path / "nowhere")
    (store.path / STORE_FILE).unlink()
    with pytest.raises(StoreError, match="unfinished"):
        LogMelStore.open(store.path)


def test_in_memory_equals_on_disk(tmp_path: Path) -> None:
    stored, clips = make_store(tmp_path)
    halves = [np.array_split(clip, 2) if len(clip) > 1 else [clip] for clip in clips]
    store = LogMelStore.in_memory(FrontEnd(), halves)
    for row in range(len(store)):
        np.testing.assert_array_equal(store.clip(row), stored.clip(row))
    assert store.statistics([1, 4]) == pytest.approx(stored.statistics([1, 4]), abs=1e-9)
    again = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(again.clip(3), store.clip(3))
    assert store.clip_ids.tolist() == list("0123456")
    assert store.paths == ()
    with pytest.raises(StoreError, match="at least one"):
        LogMelStore.in_memory(FrontEnd(), [])


def test_a_shard_is_an_array_that_is_whole_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ones = np.ones((5, 64), np.float32)
    clips = [Clip.of([ones]), Clip.of([2 * ones[:2], 2 * ones[2:]])]
    path = tmp_path / "shard-00000.npy"
    places = write_shard(path, clips, 64)
    assert [place[:2] for place in places] == [(0, 5), (5, 5)]
    frames = np.load(path)
    assert frames.shape == (10, 64)
    assert frames[5:].min() == 2
    assert write_shard(path.with_name("none.npy"), [], 64) == []
    assert np.load(path.with_name("none.npy")).shape == (0, 64)

    def full(_: int) -> None:
        raise OSError("no space")

    monkeypatch.setattr("unfused.data.shards.os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_shard(tmp_path / "other.npy", clips, 64)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["none.npy", path.name]
