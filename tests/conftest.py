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
LONG = (  # files by the time they take, the longest first
    "project/test_docs_commands.py",
    "project/test_bad_input.py",
    "project/test_runs.py",
    "project/test_interruption.py",
    "project/test_reuse.py",
    "project/test_own_data.py",
)


def pytest_collection_modifyitems(config, items):
    """With several processes long files come first, so that none is left when the others end."""
    if hasattr(config, "workerinput"):
        rank = {ROOT / "tests" / name: number for number, name in enumerate(LONG)}
        items.sort(key=lambda item: rank.get(item.path, len(rank)))


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
