"""A zoo of bad files: each is listed with its reason, none stops a scan or passes for audio."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from unfused.data.extraction import extract_log_mels
from unfused.data.log_mel import FrontEnd
from unfused.data.manifest import scan_audio

FORMATS = {
    "pcm16.wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "large.rf64": ("RF64", "PCM_16"),
    "sony.w64": ("W64", "PCM_16"),
    "lossless.flac": ("FLAC", "PCM_16"),
    "vorbis.ogg": ("OGG", "VORBIS"),
    "opus.opus": ("OGG", "OPUS"),
    "layer3.mp3": ("MP3", None),
    "apple.aiff": ("AIFF", "PCM_16"),
    "sun.au": ("AU", "PCM_16"),
    "core.caf": ("CAF", "PCM_16"),
    "speech.nist": ("NIST", "PCM_16"),
    "blaster.voc": ("VOC", "PCM_16"),
}
DAMAGES = {
    "empty": lambda whole: b"",
    "byte": lambda whole: whole[:1],
    "header": lambda whole: whole[:40],
    "half": lambda whole: whole[: len(whole) // 2],
    "zeros": lambda whole: bytes(len(whole)),
    "text": lambda whole: b"this is no sound\n" * 99,
    "page": lambda whole: b"<!DOCTYPE html><html><body>404 not found</body></html>",
    "body": lambda whole: whole[64:],
}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 48000)
    for number, (name, (container, subtype)) in enumerate(FORMATS.items()):
        whole = folder / "whole" / name
        whole.parent.mkdir(exist_ok=True)
        noise = np.roll(noise, number + 1)
        soundfile.write(whole, noise, 48000, subtype, format=container)
        for damage, change in DAMAGES.items():
            file = folder / damage / name
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(change(whole.read_bytes()))
    for value in ("nan", "inf"):
        soundfile.write(folder / f"{value}.wav", np.full(9000, float(value)), 48000, "FLOAT")
    soundfile.write(folder / "short.wav", np.zeros(3), 48000)
    return folder


def test_what_is_whole_is_taken_and_everything_else_is_listed(zoo, tmp_path):
    manifest, rejected = scan_audio(zoo, corpus="zoo", labels="none")
    later = extract_log_mels(manifest, tmp_path / "store", FrontEnd())
    kept = set(manifest["path"]) - set(later["path"])
    taken = {Path(path).relative_to(zoo).as_posix() for path in kept}
    stream = {"body/layer3.mp3"}  # an MPEG stream may begin anywhere
    assert taken == {f"whole/{name}" for name in FORMATS} | stream
    reasons = pd.concat([rejected, later])["reason"]
    assert len(reasons) == len(FORMATS) * len(DAMAGES) - len(stream) + 3 > 100
    assert reasons.str.len().between(8, 400).all()
