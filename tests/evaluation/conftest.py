"""Small stores and encoders that the tests of this room share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from unfused.audio.log_mel import FrontEnd
from unfused.audio.store import LogMelStore
from unfused.encoders import AudioNTT, TrainedEncoder

LENGTHS = (3, 20, 95, 96, 97, 101, 104, 104, 150, 150, 300, 1201, 1202, 2600)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> LogMelStore:
    """Clips of many lengths, in no order of length."""
    rng = np.random.default_rng(0)
    lengths = rng.permutation(LENGTHS)
    log_mels = {
        f"clip{i:02d}": (rng.normal(size=(n, 64)) * 2 - 6 + rng.normal(size=64)).astype("f4")
        for i, n in enumerate(lengths)
    }
    return LogMelStore.write(tmp_path_factory.mktemp("store"), FrontEnd(), log_mels)


@pytest.fixture
def make_trained() -> Callable[..., TrainedEncoder]:
    """Return an encoder whose batch norm has other statistics than any batch."""

    def make(d: int = 32, cut: str = "fc2", seed: int = 0) -> TrainedEncoder:
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
def tones(tmp_path_factory: pytest.TempPathFactory) -> tuple[LogMelStore, np.ndarray]:
    """60 clips whose class is the mel band of a steady tone, with their labels."""
    rng = np.random.default_rng(0)
    codes = np.arange(60) % 3
    log_mels = {}
    for i, code in enumerate(codes):
        clip = rng.normal(size=(int(rng.integers(60, 160)), 64)) - 8
        clip[:, 10 + 15 * code : 14 + 15 * code] += 5
        log_mels[f"tone{i:03d}"] = clip.astype("f4")
    folder = tmp_path_factory.mktemp("tones")
    return LogMelStore.write(folder, FrontEnd(), log_mels), np.array([f"band{c}" for c in codes])
