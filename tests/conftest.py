"""Shared fixtures."""

import os
import sys
from multiprocessing import get_context
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
# Processes of the tests find test modules there, and begin with what takes seconds to import.
sys.path.append(str(ROOT))
get_context("forkserver").set_forkserver_preload(
    ["torch._dynamo", "torch.distributed", "sklearn.model_selection", "matplotlib.pyplot"]
)
LONG = (  # files by the time they take; the first two make what others share, each something else
    "project/test_docs_commands.py",
    "project/test_damage.py",
    "project/test_interruption.py",
    "project/test_reuse.py",
    "inference/test_export.py",
    "methods/test_learning.py",
    "project/test_bad_input.py",
    "project/test_own_data.py",
    "training/test_processes.py",
    "project/test_viz_browser.py",
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


LENGTHS = (3, 20, 95, 96, 97, 101, 104, 104, 150, 150, 300, 1201, 1202, 2600)


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """Clips of many lengths, in no order of length."""
    import numpy as np

    from unfused.data.log_mel import FrontEnd
    from unfused.data.store import LogMelStore

    rng = np.random.default_rng(0)
    lengths = rng.permutation(LENGTHS)
    log_mels = {
        f"clip{i:02d}": (rng.normal(size=(n, 64)) * 2 - 6 + rng.normal(size=64)).astype("f4")
        for i, n in enumerate(lengths)
    }
    return LogMelStore.write(tmp_path_factory.mktemp("store"), FrontEnd(), log_mels)


@pytest.fixture(scope="session")
def make_trained():
    """Return an encoder whose batch norm has other statistics than any batch."""
    import torch

    from unfused.data.log_mel import FrontEnd
    from unfused.encoders import AudioNTT, TrainedEncoder

    def make(d: int = 32, cut: str = "fc2", seed: int = 0):
        torch.manual_seed(seed)
        encoder = AudioNTT(d=d, channels=8, cut=cut)
        for module in encoder.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2.0)
                module.num_batches_tracked.fill_(1)
        return TrainedEncoder(encoder, "toy", FrontEnd(), mean=-6.0, std=2.5)

    return make


@pytest.fixture(scope="session")
def tones(tmp_path_factory):
    """60 clips whose class is the mel band of a steady tone, with their labels."""
    import numpy as np

    from unfused.data.log_mel import FrontEnd
    from unfused.data.store import LogMelStore

    rng = np.random.default_rng(0)
    codes = np.arange(60) % 3
    log_mels = {}
    for i, code in enumerate(codes):
        clip = rng.normal(size=(int(rng.integers(60, 160)), 64)) - 8
        clip[:, 10 + 15 * code : 14 + 15 * code] += 5
        log_mels[f"tone{i:03d}"] = clip.astype("f4")
    folder = tmp_path_factory.mktemp("tones")
    return LogMelStore.write(folder, FrontEnd(), log_mels), np.array([f"band{c}" for c in codes])
