"""What happens to a log-mel store on its disk: nothing damaged is used, and extraction heals it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from unfused.core import outputs
from unfused.data import extraction
from unfused.data.extraction import extract_log_mels
from unfused.data.log_mel import FrontEnd
from unfused.data.manifest import scan_audio
from unfused.data.store import LogMelStore, StoreError

DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "truncated": lambda data: data[: len(data) // 2],
    "one bit at the start": lambda data: bytes([data[0] ^ 1, *data[1:]]),
    "one bit inside": lambda data: (
        data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 4]) + data[len(data) // 2 + 1 :]
    ),
    "one bit at the end": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "emptied": lambda data: b"",
    "deleted": lambda data: None,
}
FILES = ["shard-00001.npy", "shard-00001.json", "index.parquet", "store.json"]


@pytest.fixture
def manifest(write: Callable[..., Path]) -> pd.DataFrame:
    for i in range(6):
        root = write(f"{i}.wav", 0.1 + 0.05 * i, seed=i).parent
    return scan_audio(root, corpus="t")[0]


def extract(manifest: pd.DataFrame, folder: Path, front_end: FrontEnd | None = None) -> None:
    extract_log_mels(manifest, folder, front_end or FrontEnd(), clips_per_shard=2, n_jobs=1)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def remade(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the shards that are extracted from here on."""
    names: list[str] = []
    real = extraction._extract_shard

    def spy(shard, front_end):
        names.append(shard.path.name)
        return real(shard, front_end)

    monkeypatch.setattr(extraction, "_extract_shard", spy)
    return names


@pytest.mark.parametrize("opened_before", [False, True])
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_damage_is_never_used_and_is_healed(
    manifest: pd.DataFrame,
    tmp_path: Path,
    remade: list[str],
    name: str,
    damage: str,
    opened_before: bool,
) -> None:
    folder = tmp_path / "store"
    extract(manifest, folder)
    if opened_before:
        LogMelStore.open(folder)
    whole, file = contents(folder), folder / name
    harmed = DAMAGES[damage](whole[name])
    if harmed is None:
        file.unlink()
    else:
        file.write_bytes(harmed)
        later = file.stat().st_mtime_ns + 10**7  # clocks of file systems are coarse
        os.utime(file, ns=(later, later))
    if name == "shard-00001.json":  # only what resumes reads it
        LogMelStore.open(folder)
    else:
        words = "unfinished" if (name, damage) == ("store.json", "deleted") else name
        with pytest.raises(StoreError, match=words) as caught:
            LogMelStore.open(folder)
        assert "\n" not in str(caught.value)
    remade.clear()
    extract(manifest, folder)
    assert remade == (["shard-00001.npy"] if name.startswith("shard") else [])
    assert contents(folder) == whole
    assert len(LogMelStore.open(folder)) == len(manifest)


def test_digests_are_compared_once_in_a_process(
    manifest: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract(manifest, tmp_path)
    LogMelStore.open(tmp_path)
    read: list[str] = []
    real = outputs.digest_of
    monkeypatch.setattr(outputs, "digest_of", lambda path: (read.append(path.name), real(path))[1])
    LogMelStore.open(tmp_path)
    assert read == []


def test_other_code_of_the_front_end_extracts_again(
    manifest: pd.DataFrame,
    tmp_path: Path,
    remade: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extract(manifest, tmp_path)
    first = len(remade)
    extract(manifest, tmp_path)
    assert len(remade) == first == 3
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(extraction, "source_digest", lambda *names: asked.append(names) or "other")
    extract(manifest, tmp_path)
    assert len(remade) == 2 * first
    assert {"data.extraction", "data.log_mel", "data.reading"} <= set(asked[0])
