"""Extraction on other back-ends of joblib gives the same store."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import joblib
import pandas as pd
import pytest

from unfused.data import extraction
from unfused.data.backends import joblib_backend
from unfused.data.extraction import extract_log_mels
from unfused.data.log_mel import FrontEnd
from unfused.data.manifest import scan_audio


@pytest.fixture
def manifest(write: Callable[..., Path]) -> pd.DataFrame:
    for index in range(6):
        root = write(f"{index}.wav", 0.2 + 0.05 * index, seed=index).parent
    return scan_audio(root, corpus="t")[0]


def store(manifest: pd.DataFrame, folder: Path, backend: str, n_jobs: int) -> dict[str, bytes]:
    options = {"clips_per_shard": 2, "n_jobs": n_jobs, "backend": backend}
    assert extract_log_mels(manifest, folder, FrontEnd(), **options).empty
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("found", ["an open client", "DASK_SCHEDULER_ADDRESS"])
def test_dask_makes_the_same_store(
    manifest: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    distributed = pytest.importorskip("distributed")
    import dask

    local = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    )
    with local as cluster:
        if found == "an open client":
            with distributed.Client(cluster) as client:
                made = store(manifest, tmp_path / "dask", "dask", -1)
                assert client.status == "running"  # it is not ours to close
        else:
            with dask.config.set(scheduler_address=cluster.scheduler_address):
                made = store(manifest, tmp_path / "dask", "dask", -1)
            with pytest.raises(ValueError, match="No clients found"):
                distributed.default_client()
    assert made == store(manifest, tmp_path / "serial", "loky", 1)


def test_without_a_cluster_dask_starts_workers_here(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")
    started: list[dict[str, object]] = []

    class Client(distributed.Client):
        def __init__(self, **options: object) -> None:
            started.append(options)
            super().__init__(processes=False, **options)

    monkeypatch.setattr(distributed, "Client", Client)
    with joblib_backend("dask", 2):
        assert sorted(joblib.Parallel()(joblib.delayed(abs)(-i) for i in range(3))) == [0, 1, 2]
    assert [(options["n_workers"], options["threads_per_worker"]) for options in started] == [
        (2, 1)
    ]


@pytest.mark.parametrize(("backend", "module"), [("dask", "dask"), ("ray", "ray.util.joblib")])
def test_a_backend_that_is_not_installed_is_refused(
    manifest: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
    module: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    with pytest.raises(ValueError, match=rf"backend='{backend}'.*pip install.*\[{backend}\]"):
        store(manifest, tmp_path / "s", backend, 1)


def test_only_the_warning_of_replaced_workers_is_silent(
    manifest: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract = extraction._extract_shard

    def warned(*args: object) -> int:
        warnings.warn("A worker stopped while some jobs were given to the executor.", UserWarning)  # noqa: B028
        warnings.warn("something else", UserWarning)  # noqa: B028
        return extract(*args)

    monkeypatch.setattr(extraction, "_extract_shard", warned)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        store(manifest, tmp_path / "s", "threading", 1)
    assert {str(warning.message) for warning in heard} == {"something else"}
