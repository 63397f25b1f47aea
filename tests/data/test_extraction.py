from __future__ import annotations

import errno
import logging
import os
import threading
import warnings
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch

from unfused.core.errors import UserError
from unfused.data import extraction
from unfused.data.extraction import extract_log_mels
from unfused.data.log_mel import FrontEnd
from unfused.data.manifest import scan_audio
from unfused.data.reading import read_mono
from unfused.data.splits import assign_splits
from unfused.data.store import LogMelStore, StoreError
from unfused.data.table import ManifestError

Write = Callable[..., Path]
FRONT_END = FrontEnd()


@pytest.fixture
def manifest(write: Write) -> pd.DataFrame:
    """Ten clips of several formats, one of them silent, and one that is damaged inside."""
    for i, suffix in enumerate(["wav", "flac", "ogg", "mp3", "wav", "flac", "wav", "wav"]):
        root = write(f"{i}.{suffix}", 0.05 + 0.1 * i, (16000, 44100)[i % 2], seed=i).parent
    sf.write(root / "8.wav", np.zeros(5000), 16000)
    broken = write("9.flac", seed=9)
    data = bytearray(broken.read_bytes())
    data[len(data) // 2] ^= 0xFF
    broken.write_bytes(data)
    return scan_audio(root, corpus="t")[0]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_store_holds_the_log_mels_of_the_files(manifest: pd.DataFrame, tmp_path: Path) -> None:
    rejected = extract_log_mels(manifest, tmp_path / "s", FRONT_END, clips_per_shard=4, n_jobs=1)
    store = LogMelStore.open(tmp_path / "s", FRONT_END)
    assert [Path(path).name for path in rejected["path"]] == ["9.flac"]
    assert rejected["stage"].tolist() == ["decode"]
    assert "damaged" in rejected["reason"].item()
    kept = manifest[~manifest["path"].isin(rejected["path"])]
    assert store.clip_ids.tolist() == kept["clip_id"].tolist()
    assert store.index["digest"].tolist() == kept["digest"].tolist()
    for row, path in enumerate(kept["path"]):
        expected = FRONT_END.log_mel(read_mono(path))
        np.testing.assert_allclose(store.clip(row), expected, atol=1e-2)
        mean, std = store.statistics([row])
        assert mean == pytest.approx(expected.mean(dtype=np.float64), abs=1e-6)
        assert std == pytest.approx(expected.std(dtype=np.float64), abs=1e-6)


def test_parallel_equals_serial(
    manifest: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "_WORTH_PROCESSES", 0.0)
    for n_jobs in (1, 2):
        folder = tmp_path / f"s{n_jobs}"
        extract_log_mels(manifest, folder, FRONT_END, clips_per_shard=3, n_jobs=n_jobs)
    assert contents(tmp_path / "s1") == contents(tmp_path / "s2")


def test_little_audio_starts_no_processes(
    manifest: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, extract = [], extraction._extract_shard

    def spy(*arguments: Any) -> int:
        here.append(os.getpid())
        return extract(*arguments)

    monkeypatch.setattr(extraction, "_extract_shard", spy)
    extract_log_mels(manifest, tmp_path / "s", FRONT_END, clips_per_shard=3, n_jobs=2)
    assert set(here) == {os.getpid()}


@pytest.mark.parametrize("decoded", [0, 1, 5, 8])
def test_resume_equals_an_uninterrupted_run(
    manifest: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: int
) -> None:
    extract_log_mels(manifest, tmp_path / "whole", FRONT_END, clips_per_shard=3, n_jobs=1)
    decode, count, seen = extraction.log_mel_blocks, 0, []

    def killed(clip: dict[str, Any], front_end: FrontEnd) -> Any:
        nonlocal count
        count += 1
        if count > decoded:
            raise KeyboardInterrupt
        return decode(clip, front_end)

    def recorded(clip: dict[str, Any], front_end: FrontEnd) -> Any:
        seen.append(clip["path"])
        return decode(clip, front_end)

    monkeypatch.setattr(extraction, "log_mel_blocks", killed)
    folder = tmp_path / "s"
    with pytest.raises(KeyboardInterrupt):
        extract_log_mels(manifest, folder, FRONT_END, clips_per_shard=3, n_jobs=1)
    with pytest.raises(StoreError, match=r"unfinished|does not exist"):
        LogMelStore.open(folder)
    monkeypatch.setattr(extraction, "log_mel_blocks", recorded)
    rejected = extract_log_mels(manifest, folder, FRONT_END, clips_per_shard=3, n_jobs=1)
    assert len(seen) == len(manifest) - decoded // 3 * 3  # finished shards were not made again
    assert contents(folder) == contents(tmp_path / "whole")
    assert len(rejected) == 1


def test_a_killed_write_leaves_no_whole_looking_shard(
    manifest: pd.DataFrame, tmp_path: Path
) -> None:
    """A shard without its part, a part without its shard, and a cut shard are made again."""
    whole, folder = tmp_path / "whole", tmp_path / "s"
    for path in (whole, folder):
        extract_log_mels(manifest, path, FRONT_END, clips_per_shard=3, n_jobs=1)
    (folder / "index.parquet").unlink()
    (folder / "shard-00000.json").unlink()
    (folder / "shard-00001.npy").unlink()
    cut = (folder / "shard-00002.npy").read_bytes()[:-128]
    (folder / "shard-00002.npy").write_bytes(cut)
    (folder / "shard-00003.npy.tmp").write_bytes(b"half")
    extract_log_mels(manifest, folder, FRONT_END, clips_per_shard=3, n_jobs=1)
    assert contents(folder) == contents(whole)


def test_nothing_is_done_twice_and_changes_are_noticed(
    manifest: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "s"
    first = extract_log_mels(manifest, folder, FRONT_END, clips_per_shard=3, n_jobs=1)
    monkeypatch.setattr(extraction, "_extract_shard", None)
    again = extract_log_mels(manifest, folder, FRONT_END, clips_per_shard=3, n_jobs=1)
    pd.testing.assert_frame_equal(first, again)
    monkeypatch.undo()
    fewer = manifest.iloc[:5]
    extract_log_mels(fewer, folder, FRONT_END, clips_per_shard=3, n_jobs=1)
    assert LogMelStore.open(folder).clip_ids.tolist() == fewer["clip_id"].tolist()
    assert not list(folder.glob("shard-00002*"))
    other = FrontEnd(hop=200)
    extract_log_mels(fewer, folder, other, clips_per_shard=3, n_jobs=1)
    assert LogMelStore.open(folder).front_end == other
    with pytest.raises(StoreError, match="hop=200"):
        LogMelStore.open(folder, FRONT_END)


def test_silence_is_kept_and_counted(
    manifest: pd.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        extract_log_mels(manifest, tmp_path / "s", FRONT_END, n_jobs=1)
    assert "1 of them digital silence (kept)" in caplog.text


def test_nan_and_overflow_inside_a_file_are_rejected(write: Write, tmp_path: Path) -> None:
    root = write("good.wav").parent
    for name, value in (("nan", np.nan), ("huge", 1e30)):
        wave = np.full(8000, 0.1, np.float32)
        wave[4000] = value
        sf.write(root / f"{name}.wav", wave, 16000, subtype="FLOAT")
    manifest, rejected = scan_audio(root, corpus="t")
    assert rejected.empty
    rejected = extract_log_mels(manifest, tmp_path / "s", FRONT_END, n_jobs=1)
    assert [Path(path).stem for path in rejected["path"]] == ["huge", "nan"]
    assert rejected["reason"].str.startswith("not finite").all()
    assert len(LogMelStore.open(tmp_path / "s")) == 1


def test_nothing_usable_is_an_error(manifest: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no clips"):
        extract_log_mels(manifest.iloc[:0], tmp_path / "s", FRONT_END)
    with pytest.raises(ManifestError, match=r"none of 1 clips.*9\.flac"):
        extract_log_mels(manifest.iloc[-1:], tmp_path / "s", FRONT_END, n_jobs=1)
    with pytest.raises(StoreError, match="unfinished"):
        LogMelStore.open(tmp_path / "s")
    with pytest.raises(ValueError, match="clips_per_shard=0"):
        extract_log_mels(manifest, tmp_path / "s", FRONT_END, clips_per_shard=0)


def test_a_file_that_vanished_is_not_rejected_for_good(
    manifest: pd.DataFrame, tmp_path: Path
) -> None:
    there, away = Path(manifest["path"][0]), tmp_path / "away"
    there.rename(away)
    with pytest.raises(UserError, match=f"{there.name}.*gone"):
        extract_log_mels(manifest, tmp_path / "s", FRONT_END, n_jobs=1)
    away.rename(there)
    rejected = extract_log_mels(manifest, tmp_path / "s", FRONT_END, n_jobs=1)
    assert str(there) not in set(rejected["path"])


def test_a_folder_that_cannot_be_written(manifest: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "store"
    with pytest.raises(OSError, match=f"cannot write the log-mel store to {folder}.*writable"):
        extract_log_mels(manifest, folder, FRONT_END, n_jobs=1)


def test_a_full_disk_and_going_on_after_it(
    manifest: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, sync = 0, os.fsync

    def full(file: int) -> None:
        nonlocal count
        count += 1
        if count == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(file)

    monkeypatch.setattr("unfused.data.shards.os.fsync", full)
    folder = tmp_path / "s"
    with pytest.raises(OSError, match="disk is full: free some space") as caught:
        extract_log_mels(manifest, folder, FRONT_END, clips_per_shard=3, n_jobs=1)
    assert caught.value.errno == errno.ENOSPC
    assert not list(folder.glob("*.tmp"))
    monkeypatch.undo()
    extract_log_mels(manifest, folder, FRONT_END, clips_per_shard=3, n_jobs=1)
    assert len(LogMelStore.open(folder)) == 9


def test_a_killed_worker(
    manifest: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise BrokenProcessPool("A worker process managed by the executor was terminated.")

    monkeypatch.setattr(extraction, "_run", killed)
    with pytest.raises(StoreError, match=r"killed.*lower n_jobs than 2"):
        extract_log_mels(manifest, tmp_path / "s", FRONT_END, clips_per_shard=3, n_jobs=2)


def test_long_recordings_close_a_shard_and_stay_the_same_in_blocks(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write("0.flac", 2.0, 44100).parent
    write("1.wav", 2.0, 44100, seed=1)
    manifest, _ = scan_audio(root, corpus="t")
    extract_log_mels(manifest, tmp_path / "one", FRONT_END, n_jobs=1)
    monkeypatch.setattr("unfused.data.reading.BLOCK_SAMPLES", 20_000)
    monkeypatch.setattr(extraction, "_SHARD_SECONDS", 1.0)
    extract_log_mels(manifest, tmp_path / "two", FRONT_END, n_jobs=1)
    assert len(list((tmp_path / "two").glob("*.npy"))) == 2
    one, two = LogMelStore.open(tmp_path / "one"), LogMelStore.open(tmp_path / "two")
    for row in range(2):
        np.testing.assert_allclose(one.clip(row), two.clip(row), atol=1e-2)


def test_threads_are_given_back(manifest: pd.DataFrame, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    extract_log_mels(manifest.iloc[:2], tmp_path / "s", FRONT_END, n_jobs=1)
    assert torch.get_num_threads() == before


def test_real_digits(real_data: Path, tmp_path: Path) -> None:
    columns = {"split": "split_speaker", "group": "speaker"}
    manifest, rejected = scan_audio(real_data / "fsdd_digits", corpus="fsdd", columns=columns)
    assert rejected.empty
    assert len(manifest) == 3000
    splits = assign_splits(manifest)
    assert set(splits["made_by"]) == {"given split"}
    few = manifest.iloc[::50]
    assert extract_log_mels(few, tmp_path / "s", FRONT_END, n_jobs=1).empty
    assert len(LogMelStore.open(tmp_path / "s")) == len(few)


def test_joblibs_own_configuration_is_respected(
    manifest: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads take the work, make the same bytes, and unrelated warnings are heard."""
    extract_log_mels(manifest, tmp_path / "alone", FRONT_END, clips_per_shard=3, n_jobs=1)
    threads, extract = set(), extraction._extract_shard

    def spy(*arguments: Any) -> int:
        threads.add(threading.get_ident())
        warnings.warn("A worker stopped while some jobs were given to the executor.", UserWarning)  # noqa: B028
        warnings.warn("something else", UserWarning)  # noqa: B028
        return extract(*arguments)

    monkeypatch.setattr(extraction, "_extract_shard", spy)
    monkeypatch.setattr(extraction, "_WORTH_PROCESSES", 0.0)
    before = torch.get_num_threads()
    with joblib.parallel_config(backend="threading"), warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        extract_log_mels(manifest, tmp_path / "threads", FRONT_END, clips_per_shard=3, n_jobs=2)
    assert threads
    assert threading.main_thread().ident not in threads
    assert contents(tmp_path / "alone") == contents(tmp_path / "threads")
    assert {str(warning.message) for warning in heard} == {"something else"}
    assert torch.get_num_threads() == before
