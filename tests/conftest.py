"""Shared fixtures."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # small tensors: one thread is faster, and repeatable
os.environ.setdefault("TQDM_DISABLE", "1")
for name in (
    "UNFUSED_AUDIO",
    "UNFUSED_UNLABELLED",
    "UNFUSED_NEW_AUDIO",
):  # the user's own audio is none of the tests'
    os.environ.pop(name, None)
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def project_root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The real sets, where the environment says they are."""
    folder = os.environ.get("UNFUSED_DATA")
    if not folder:
        pytest.skip("UNFUSED_DATA names no folder of real data sets")
    return Path(folder)
