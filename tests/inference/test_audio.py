"""Files and samples get the vectors that a corpus of them gets."""

import numpy as np
import pytest
import soundfile
import torch

import unfused
from unfused.data.reading import UnreadableAudio
from unfused.embeddings.embedder import as_embedder
from unfused.encoders import save_encoder


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())


def test_a_clip_has_the_vector_that_a_corpus_gives_it(any_encoder, sounds, corpus):
    expected = any_encoder.embed(corpus, device="cpu")
    found = any_encoder.embed(corpus.clips["path"].tolist(), device="cpu")
    close(np.stack([item.clip for item in found]), expected)
    assert found[0].clip.dtype == found[0].frames.dtype == np.float32


def test_a_clip_does_not_depend_on_the_others(any_encoder, sounds):
    names = ["short.wav", "window.flac", "odd.wav", "long.ogg"]
    together = any_encoder.embed([sounds / name for name in names], device="cpu")
    for name, item in zip(names, together, strict=True):
        alone = any_encoder.embed(sounds / name, device="cpu")
        close(item.clip, alone.clip)
        close(item.frames, alone.frames)


def test_the_clip_is_statistics_of_its_frames(any_encoder, sounds):
    for name in ("odd.wav", "long.ogg"):
        found = any_encoder.embed(sounds / name, device="cpu")
        frames = found.frames
        statistics = np.concatenate([frames.mean(0), frames.max(0), frames.std(0)])
        np.testing.assert_allclose(found.clip, statistics, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["short.wav", "odd.wav", "long.ogg"])
def test_frames_lie_evenly_within_the_clip(any_encoder, sounds, name):
    network, tap = any_encoder.trained.encoder, any_encoder.read_out.taps[0]
    found = any_encoder.embed(sounds / name, device="cpu")
    seconds = soundfile.info(sounds / name).duration
    step = network.strides[tap] * 0.01
    assert found.frames.shape == (len(found.seconds), network.dims[tap])
    assert abs(len(found.seconds) - seconds / step) <= 2
    assert found.seconds[0] >= 0
    assert found.seconds[-1] <= seconds
    assert found.seconds[0] < step
    assert found.seconds[-1] > seconds - 2 * step
    np.testing.assert_allclose(np.diff(found.seconds)[1:-1], step, atol=1e-4)


def test_samples_are_as_good_as_their_file(encoder, sounds):
    for name in ("window.flac", "odd.wav"):
        samples, rate = soundfile.read(sounds / name, dtype="float32", always_2d=True)
        expected = encoder.embed(sounds / name, device="cpu").clip
        for given in (samples.T, torch.from_numpy(samples.T)):
            close(encoder.embed(given, sample_rate=rate, device="cpu").clip, expected)
    mono = samples[:, 0].astype(np.float64)
    close(encoder.embed(mono, sample_rate=rate, device="cpu").clip, expected)


def test_the_encoder_stays_as_it_is(encoder, sounds):
    before = {key: value.clone() for key, value in encoder.trained.encoder.state_dict().items()}
    encoder.trained.encoder.train()
    encoder.embed(sounds / "short.wav", device="cpu")
    assert encoder.trained.encoder.training
    encoder.trained.encoder.eval()
    assert all(
        torch.equal(before[key], now) for key, now in encoder.trained.encoder.state_dict().items()
    )


def test_load_encoder_returns_one_that_embeds(encoder, sounds, tmp_path):
    save_encoder(tmp_path, encoder.trained)
    loaded = unfused.load_encoder(tmp_path, encoder.read_out)
    assert (loaded.trained.mean, loaded.trained.std) == (-9.0, 3.5)
    assert (loaded.sample_rate, loaded.dim) == (16000, encoder.dim)
    assert as_embedder(loaded) is loaded
    close(
        loaded.embed(sounds / "odd.wav", device="cpu").clip,
        encoder.embed(sounds / "odd.wav", device="cpu").clip,
    )


@pytest.mark.parametrize(
    ("audio", "rate", "error", "words"),
    [
        (np.zeros(100, np.float32), None, ValueError, "sample_rate"),
        (np.zeros((100, 2), np.float32), 16000, ValueError, "transpose"),
        (np.zeros(0, np.float32), 16000, ValueError, "N >= 1"),
        (np.zeros(100, np.int16), 16000, ValueError, "32768"),
        (np.full(100, np.nan, np.float32), 16000, UnreadableAudio, "not finite"),
        (np.zeros(100, np.float32), 0, ValueError, "at least 1 Hz"),
        ("missing.wav", None, UnreadableAudio, "not found"),
        ([], 16000, ValueError, "at least one clip"),
    ],
)
def test_what_is_no_audio_is_refused(encoder, audio, rate, error, words):
    with pytest.raises(error, match=words):
        encoder.embed(audio, sample_rate=rate, device="cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_a_gpu_gives_the_same(encoder, sounds):
    expected = encoder.embed(sounds / "odd.wav", device="cpu")
    found = encoder.embed(sounds / "odd.wav", device="cuda")
    np.testing.assert_allclose(found.clip, expected.clip, rtol=1e-2, atol=1e-2)
