"""A small encoder, and recordings of many kinds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from unfused.data.log_mel import FrontEnd
from unfused.embeddings.embedder import EncoderEmbedder
from unfused.embeddings.read_out import ReadOut
from unfused.encoders import AudioNTT, Conformer, TrainedEncoder
from unfused.inference import Classifier
from unfused.tasks.corpus import Corpus

SOUNDS = {  # name -> seconds, rate, channels
    "short.wav": (0.3, 16000, 1),
    "window.flac": (0.95, 22050, 2),
    "odd.wav": (2.345, 44100, 1),
    "long.ogg": (14.2, 8000, 1),
}


def build(name: str, statistics=("mean", "max", "std")) -> EncoderEmbedder:
    torch.manual_seed(0)
    if name == "conformer":
        encoder = Conformer(latent_dim=16, embed_dim=16, n_layers=2, n_heads=2, ffn_dim=32)
    else:
        encoder = AudioNTT(d=16, channels=8)
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    trained = TrainedEncoder(encoder.eval(), "toy", FrontEnd(), mean=-9.0, std=3.5)
    taps = () if name == "conformer" else (name,)
    return EncoderEmbedder(trained, ReadOut(taps, statistics))


@pytest.fixture(scope="session", params=["block3", "fc2", "conformer"])
def any_encoder(request):
    return build(request.param)


@pytest.fixture(scope="session")
def encoder():
    return build("block3")


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


@pytest.fixture(scope="session")
def corpus(sounds, tmp_path_factory):
    """The same recordings as a corpus."""
    return Corpus(sounds, folder=tmp_path_factory.mktemp("store"), labels="none", n_jobs=1)


def write_tones(folder, classes=(400, 1200, 3600), per_class=12, seconds=0.6, rate=16000, seed=0):
    """Write clips whose class is their pitch, one folder per class."""
    rng = np.random.default_rng(seed)
    for pitch in classes:
        (folder / f"hz{pitch}").mkdir(parents=True)
        for i in range(per_class):
            time = np.arange(int(rng.uniform(0.8, 1.2) * seconds * rate)) / rate
            wave = 0.3 * np.sin(2 * np.pi * pitch * rng.uniform(0.95, 1.05) * time)
            wave += 0.01 * rng.standard_normal(len(time))
            soundfile.write(folder / f"hz{pitch}" / f"{i}.wav", wave, rate)
    return folder


@pytest.fixture(scope="session")
def tones(tmp_path_factory):
    folder = write_tones(tmp_path_factory.mktemp("tones"))
    return Corpus(folder, folder=tmp_path_factory.mktemp("log_mels"), n_jobs=1)


@pytest.fixture(scope="session")
def classifier(tones, encoder):
    """A classifier of tones on the small encoder."""
    return Classifier(encoder, device="cpu").fit(tones.split()[0])
