"""A small encoder, a classifier on it, and recordings of many kinds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from unfused.data.log_mel import FrontEnd
from unfused.encoders import AudioNTT, Conformer, TrainedEncoder
from unfused.inference import AudioEncoder, Classifier
from unfused.probes.head import Head
from unfused.tasks.label_kinds import MULTI_LABEL, SINGLE_LABEL

SOUNDS = {  # name -> seconds, rate, channels
    "short.wav": (0.3, 16000, 1),
    "window.flac": (0.95, 22050, 2),
    "odd.wav": (2.345, 44100, 1),
    "long.ogg": (14.2, 8000, 1),
}


def build(name: str) -> AudioEncoder:
    torch.manual_seed(0)
    if name == "conformer":
        encoder = Conformer(latent_dim=16, embed_dim=16, n_layers=2, n_heads=2, ffn_dim=32)
    else:
        encoder = AudioNTT(d=16, channels=8, cut=name)
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    trained = TrainedEncoder(encoder.eval(), "toy", FrontEnd(), mean=-9.0, std=3.5)
    return AudioEncoder.of(trained)


@pytest.fixture(scope="session", params=["block3", "fc2", "conformer"])
def any_encoder(request):
    return build(request.param)


@pytest.fixture(scope="session")
def encoder():
    return build("block3")


@pytest.fixture(scope="session")
def make_classifier(encoder):
    def make(kind=SINGLE_LABEL, seed=0):
        rng = np.random.default_rng(seed)
        classes = np.array(["bird", "rain", "wind"])
        arrays = [rng.normal(size=(3, encoder.dim)), rng.normal(size=3)]
        arrays += [rng.normal(size=encoder.dim), rng.uniform(0.5, 2, encoder.dim)]
        facts = {"longest_seconds": 2.0, "embedding": "whole_clip", "protocol": "linear_probe"}
        head = Head(classes, kind, *(array.astype(np.float32) for array in arrays), facts)
        return Classifier(encoder, head)

    return make


@pytest.fixture(scope="session")
def classifier(make_classifier):
    return make_classifier()


@pytest.fixture(scope="session")
def several(make_classifier):
    return make_classifier(MULTI_LABEL)


@pytest.fixture(scope="session")
def sounds(tmp_path_factory):
    """A folder of recordings that differ in length, rate, channels and format."""
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    for name, (seconds, rate, channels) in SOUNDS.items():
        time = np.arange(int(seconds * rate)) / rate
        wave = 0.3 * np.sin(2 * np.pi * 400 * time)[:, None] * np.ones(channels)
        soundfile.write(folder / name, wave + 0.05 * rng.standard_normal(wave.shape), rate)
    return folder


@pytest.fixture(scope="session")
def stored(sounds, tmp_path_factory):
    """The same recordings as the pipeline stores them: manifest and log-mel store."""
    from unfused.data.extraction import extract_log_mels
    from unfused.data.manifest import scan_audio
    from unfused.data.store import LogMelStore

    manifest, rejected = scan_audio(sounds, corpus="sounds", labels="none")
    assert rejected.empty
    folder = tmp_path_factory.mktemp("store")
    extract_log_mels(manifest, folder, FrontEnd(), n_jobs=1)
    names = pd.Series([path.rsplit("/", 1)[1] for path in manifest["path"]])
    return manifest.assign(name=names), LogMelStore.open(folder)
