"""Where shards are extracted: processes or threads of this machine, or a cluster of dask or ray."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import joblib

STREAMING = ("loky", "threading", "sequential", "dask")
"""Backends that hand back results one by one; the others do so at the end."""


@contextmanager
def joblib_backend(name: str, n_jobs: int) -> Iterator[None]:
    """Make a backend joblib's default as long as the context lasts.

    A dask cluster is found as dask itself finds it: a client that is open in this process, else
    ``DASK_SCHEDULER_ADDRESS``; without either, workers start on this machine. Ray's is
    ``RAY_ADDRESS``. The workers of a cluster need this package, and the same paths.

    Args:
        name: joblib's name of the backend.
        n_jobs: How many workers to start on this machine; -1: one per core.

    Raises:
        ValueError: The backend's package is not installed.
    """
    if name == "ray":
        _register_ray()
    client = _dask_client(n_jobs) if name == "dask" else None
    try:
        with joblib.parallel_config(backend=name, n_jobs=n_jobs):
            yield
    finally:
        if client is not None:
            client.close()


def _dask_client(n_jobs: int) -> Any:
    """Return a client that was opened here and is to be closed; None if there was one."""
    try:
        import dask

        if dask.config.get("logging.distributed", None) is None:
            dask.config.set({"logging.distributed": "error"})  # not: every worker comes and goes
        from distributed import Client, default_client
    except ImportError as error:
        raise _missing("dask") from error
    try:
        default_client()
    except ValueError:  # no client yet
        address = dask.config.get("scheduler-address", None)
        if address:
            return Client(address)
        workers = joblib.effective_n_jobs(n_jobs)
        return Client(n_workers=workers, threads_per_worker=1, dashboard_address=None)
    return None


def _register_ray() -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # this project reports to nobody
    try:
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise _missing("ray") from error
    register_ray()


def _missing(name: str) -> ValueError:
    return ValueError(
        f"extraction.backend={name!r} needs a package that is not installed: "
        f'pip install ".[{name}]", or set extraction.backend=loky'
    )
