from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf
import soxr

from unfused.data import reading
from unfused.data.reading import AudioInfo, UnreadableAudio, probe, read_mono, read_mono_blocks

Write = Callable[..., Path]
FORMATS = [
    ("a.wav", 44100, {}),
    ("a8.wav", 8000, {"subtype": "PCM_U8"}),
    ("a24.wav", 48000, {"subtype": "PCM_24"}),
    ("afloat.wav", 22050, {"subtype": "FLOAT"}),
    ("a.flac", 44100, {}),
    ("a24.flac", 96000, {"subtype": "PCM_24"}),
    ("a8.flac", 11025, {"subtype": "PCM_S8"}),
    ("a.ogg", 44100, {"subtype": "VORBIS"}),
    ("a.opus", 48000, {"format": "OGG", "subtype": "OPUS"}),
    ("a.mp3", 44100, {}),
]


RARE = """
    WAV PCM_16, WAV ULAW, WAV MS_ADPCM, WAV DOUBLE, WAVEX PCM_16, WAVEX FLOAT, RF64 PCM_16,
    RF64 FLOAT, RF64 ULAW, W64 PCM_16, W64 PCM_24, W64 ALAW, AU PCM_16, AU FLOAT, AU ULAW,
    AIFF PCM_16, AIFF PCM_S8, AIFF PCM_24, AIFF FLOAT, AIFF IMA_ADPCM, CAF PCM_16, CAF ALAC_16,
    NIST PCM_16, NIST ALAW, VOC PCM_16, VOC ALAW, AVR PCM_16, MPC2K PCM_16, SVX PCM_16, HTK PCM_16,
    SDS PCM_16, MAT4 DOUBLE, MAT4 PCM_16, MAT5 DOUBLE, MAT5 PCM_16, WVE ALAW
"""  # all that libsndfile writes and reads again, where the header says how long the audio is
RARER = [
    (f"a.{entry.strip()}", 8000, dict(zip(("format", "subtype"), entry.split(), strict=True)))
    for entry in RARE.split(",")
]


@pytest.mark.parametrize(("name", "rate", "settings"), FORMATS)
def test_decoding_equals_soundfile(write: Write, name: str, rate: int, settings: dict) -> None:
    path = write(name, 0.8, rate, **settings)
    expected, _ = sf.read(path, dtype="float32")
    decoded = read_mono(path, sample_rate=rate)
    np.testing.assert_array_equal(decoded, expected)
    resampled = read_mono(path)
    np.testing.assert_array_equal(resampled, soxr.resample(expected, rate, 16000, quality="HQ"))
    info = probe(path)
    assert (info.frames, info.sample_rate, info.channels) == (len(expected), rate, 1)


@pytest.mark.parametrize(("name", "rate", "settings"), FORMATS)
def test_a_part_is_a_slice_of_the_whole(write: Write, name: str, rate: int, settings: dict) -> None:
    path = write(name, 1.0, rate, **settings)
    whole = read_mono(path, sample_rate=rate)
    part = read_mono(path, offset=3000, frames=2000, sample_rate=rate)
    np.testing.assert_allclose(part, whole[3000:5000], atol=1e-6)
    np.testing.assert_array_equal(read_mono(path, offset=3000, sample_rate=rate), whole[3000:])
    numbers = {"offset": np.int64(3000), "frames": np.int64(2000)}  # as they come out of a table
    plain = read_mono(path, offset=3000, frames=2000)
    np.testing.assert_array_equal(read_mono(path, **numbers), plain)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_channels_are_averaged(tmp_path: Path, suffix: str) -> None:
    stereo = np.random.default_rng(0).uniform(-0.5, 0.5, (4000, 2)).astype(np.float32)
    path = tmp_path / f"stereo.{suffix}"
    sf.write(path, stereo, 16000)
    decoded, _ = sf.read(path, dtype="float32")
    np.testing.assert_allclose(read_mono(path), decoded.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize("name", ["long.wav", "long.flac", "long.ogg"])
def test_blocks_equal_one_reading(write: Write, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(name, 1.5, 44100)
    whole = read_mono(path)
    monkeypatch.setattr(reading, "BLOCK_SAMPLES", 10_000)
    blocks = list(read_mono_blocks(path))
    assert len(blocks) > 3
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-6)


def test_without_the_fast_decoder_the_samples_are_the_same(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("a.flac", 0.5, 44100)
    fast = read_mono(path)
    monkeypatch.setattr(reading, "fast_flac", None)
    np.testing.assert_array_equal(read_mono(path), fast)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_the_fast_decoder_hides_no_damage(
    tmp_path: Path, channels: int, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "bad.flac"
    sf.write(path, rng.uniform(-0.5, 0.5, (20_000, channels)), 44100)
    whole = path.read_bytes()
    for place in rng.integers(100, len(whole), 20):
        data = bytearray(whole)
        if damage == "cut":
            del data[place:]
        else:
            data[place] ^= 0x10
        path.write_bytes(data)
        with pytest.raises(UnreadableAudio) as fast:
            read_mono(path)
        with monkeypatch.context() as without:
            without.setattr(reading, "fast_flac", None)
            with pytest.raises(UnreadableAudio) as reference:
                read_mono(path)
        assert str(fast.value) == str(reference.value)


def test_the_content_counts_not_the_extension(write: Write) -> None:
    flac = write("real.flac")
    wrong = flac.rename(flac.with_name("wrong name ü.mp3"))
    assert probe(wrong) == AudioInfo(8000, 16000, 1, "FLAC")
    assert read_mono(wrong).shape == (8000,)


def damaged(write: Write, tmp_path: Path, kind: str) -> Path:
    """Make one bad file."""
    path = tmp_path / f"{kind.replace(' ', '_')}.wav"
    data = bytearray(write("good.wav").read_bytes())
    if kind == "no audio":
        data = bytearray(b"this is no audio" * 100)
    elif kind == "empty":
        data = bytearray()
    elif kind == "truncated":
        del data[len(data) // 2 :]
    elif kind == "zero length":
        del data[44:]
        data[40:44] = bytes(4)
    elif kind == "zero channels":
        data[22:24] = bytes(2)
    elif kind == "zero rate":
        data[24:28] = bytes(4)
    elif kind in ("nan", "inf"):
        sf.write(path, np.array([0.1, float(kind), 0.2], np.float32), 16000, subtype="FLOAT")
        return path
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("no audio", "unreadable"),
        ("empty", "empty file"),
        ("truncated", "truncated"),
        ("zero length", "zero length"),
        ("zero channels", "[Cc]hannel"),
        ("zero rate", "unreadable"),
        ("nan", "not finite"),
        ("inf", "not finite"),
    ],
)
def test_bad_files_have_a_reason(write: Write, tmp_path: Path, kind: str, reason: str) -> None:
    with pytest.raises(UnreadableAudio, match=reason):
        read_mono(damaged(write, tmp_path, kind))


@pytest.mark.parametrize(("name", "rate", "settings"), [*FORMATS, *RARER])
@pytest.mark.parametrize("keep", [0.5, 0.97])
def test_truncated_files_of_every_format(
    write: Write, name: str, rate: int, settings: dict, keep: float
) -> None:
    path = write(name, 1.0, rate, **settings)
    read_mono(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(UnreadableAudio, match=r"truncated|unreadable|zero length"):
        read_mono(path)


def test_a_streamed_wav_without_a_length_is_whole(write: Write) -> None:
    path = write("stream.wav")
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert read_mono(path).shape == (8000,)


def test_a_streamed_au_without_a_length_is_whole(write: Write) -> None:
    path = write("stream.au")
    data = bytearray(path.read_bytes())
    data[8:12] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert read_mono(path).shape == (8000,)


@pytest.mark.parametrize("name", ["a.wav", "a.aiff"])
def test_a_wrong_size_of_the_whole_file_does_not_matter(write: Write, name: str) -> None:
    """Some writers count the first chunk's own eight bytes too; the data is all there."""
    path = write(name)
    data = bytearray(path.read_bytes())
    order = "little" if name == "a.wav" else "big"
    data[4:8] = len(data).to_bytes(4, order)  # type: ignore[arg-type]
    path.write_bytes(data)
    assert read_mono(path).shape == (8000,)


def test_words_in_a_files_own_text_do_not_count(write: Write) -> None:
    path = write("a.wav")
    with sf.SoundFile(path, "r+") as file:
        file.title = "Seems to be a truncated song: data : 9999999 should be 5"
    assert read_mono(path).shape == (8000,)


def test_one_sample(tmp_path: Path) -> None:
    path = tmp_path / "one.wav"
    sf.write(path, np.array([0.5], np.float32), 16000)
    assert read_mono(path).tolist() == [0.5]
    sf.write(path, np.array([0.5], np.float32), 48000)
    with pytest.raises(UnreadableAudio, match="zero length"):
        read_mono(path)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(UnreadableAudio, match="not found"):
        probe(tmp_path / "nothing.wav")
    with pytest.raises(UnreadableAudio, match="not a file"):
        probe(tmp_path)


@pytest.mark.parametrize(("offset", "frames"), [(-1, 5), (0, 0), (0, 8001), (8000, None)])
def test_a_part_beyond_the_file(write: Write, offset: int, frames: int | None) -> None:
    with pytest.raises(UnreadableAudio, match="not within the file's 8000"):
        read_mono(write("a.wav"), offset=offset, frames=frames)


@pytest.mark.parametrize("form", ["mp3", "ogg", "opus", "flac", "wav"])
def test_windows_of_a_recording_are_decoded_in_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    path = tmp_path / f"long.{form}"
    how = {"format": "OGG", "subtype": "OPUS"} if form == "opus" else {}
    sf.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 96_000), 16000, **how)
    whole, opened = read_mono(path), []
    opens = sf.SoundFile
    monkeypatch.setattr(reading.sf, "SoundFile", lambda *a, **k: opened.append(a) or opens(*a, **k))
    size = len(whole) // 6
    windows = [read_mono(path, offset=i * size, frames=size) for i in (0, 1, 2, 4)]
    opened_for_windows = len(opened)
    again = read_mono(path, offset=size, frames=size)  # from before where it stood
    for window, at in zip([*windows, again], (0, 1, 2, 4, 1), strict=True):
        np.testing.assert_allclose(window, whole[at * size : (at + 1) * size], atol=1e-6)
    if form in ("mp3", "ogg", "opus"):
        probed = 4  # each window's header is looked at
        assert opened_for_windows == probed + 1
    path.write_bytes(path.read_bytes())  # another file from here on, as far as anyone knows
    os.utime(path, (1, 1))
    again = read_mono(path, offset=2 * size, frames=size)
    np.testing.assert_allclose(again, windows[2], atol=1e-6)


def write_by_ffmpeg(path: Path, samples: np.ndarray, rate: int, codec: str, **options: str) -> None:
    """Write (channels, N) float32."""
    layout = "mono" if len(samples) == 1 else "stereo"
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
    frame.sample_rate, frame.pts = rate, 0
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = layout
        for part in (frame, None):
            container.mux(stream.encode(part))


@pytest.mark.parametrize(
    ("name", "rate", "codec"),
    [("a.m4a", 44100, "aac"), ("a.MP4", 32000, "aac"), ("a.aac", 16000, "aac"),
     ("a.webm", 48000, "libopus"), ("a.mka", 44100, "flac")],
)  # fmt: skip
def test_formats_of_phones(tmp_path: Path, name: str, rate: int, codec: str) -> None:
    path = tmp_path / name
    seconds = np.arange(3 * rate) / rate
    chirp = 0.4 * np.sin(2 * np.pi * (200 + 200 * seconds) * seconds)
    samples = np.stack([chirp, chirp / 2]).astype(np.float32)
    write_by_ffmpeg(path, samples, rate, codec)
    with pytest.raises(sf.SoundFileError):
        sf.info(path)
    info = probe(path)
    assert (info.sample_rate, info.channels) == (rate, 2)
    assert 3 * rate <= info.frames <= 3 * rate + 4096
    whole = read_mono(path, sample_rate=rate)
    assert len(whole) == info.frames
    delay = 1024 if name == "a.aac" else 0  # this container does not say what is the encoder's own
    expected = samples.mean(axis=0)
    found = whole[delay : delay + len(expected)]
    assert np.corrcoef(found, expected)[0, 1] > 0.99
    for at in (0, rate, 2 * rate, rate):
        part = read_mono(path, offset=at, frames=1000, sample_rate=rate)
        np.testing.assert_allclose(part, whole[at : at + 1000], atol=1e-6)


def test_damaged_files_of_phones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.m4a"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 160_000)).astype(np.float32)
    for flags in ("use_metadata_tags", "faststart"):  # the index at the end, at the beginning
        write_by_ffmpeg(path, noise, 16000, "aac", movflags=flags)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UnreadableAudio, match="Invalid data"):
            probe(path)
    path.write_bytes(b"#EXTM3U\n#EXTINF:1,\nother.wav\n")  # a playlist
    with pytest.raises(UnreadableAudio, match="unreadable"):
        probe(path)
    path.write_bytes(whole)
    monkeypatch.setattr(reading, "has_ffmpeg", False)
    with pytest.raises(UnreadableAudio, match="needs PyAV: pip install"):
        probe(path)


def test_streams_without_a_length_are_not_called_cut_off(tmp_path: Path) -> None:
    quiet_first = np.zeros((1, 320_000), np.float32)
    quiet_first[:, 160_000:] = np.random.default_rng(0).uniform(-0.5, 0.5, 160_000)
    write_by_ffmpeg(tmp_path / "a.aac", quiet_first, 16000, "aac")
    assert probe(tmp_path / "a.aac").frames >= 320_000


@pytest.mark.parametrize("name", ["a.mka", "a.webm"])
def test_half_of_a_recording_by_a_browser(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 480_000)).astype(np.float32)
    write_by_ffmpeg(path, noise, 48000, "libopus")
    assert probe(path).frames >= 480_000
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableAudio, match="truncated"):
        probe(path)


def test_a_rate_or_channels_that_change_on_the_way(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 64_000)).astype(np.float32)
    parts = []
    for index, (channels, rate) in enumerate([(2, 16000), (1, 16000), (2, 32000)]):
        write_by_ffmpeg(tmp_path / f"{index}.aac", noise[:channels], rate, "aac")
        parts.append((tmp_path / f"{index}.aac").read_bytes())
    for other in parts[1:]:
        (tmp_path / "a.aac").write_bytes(parts[0] + other)
        with pytest.raises(UnreadableAudio, match="change on the way"):
            read_mono(tmp_path / "a.aac")


def test_mutated_files_of_phones_have_a_reason_or_samples(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 48_000)).astype(np.float32)
    draw = np.random.default_rng(1)
    for name in ("a.m4a", "a.mka", "a.webm", "a.aac"):
        path = tmp_path / name
        write_by_ffmpeg(path, noise, 48000, "libopus" if name == "a.webm" else "aac")
        whole = path.read_bytes()
        for _ in range(60):
            content = bytearray(whole)
            content[draw.integers(min(len(content), 1500))] ^= 1 << int(draw.integers(8))
            path.write_bytes(content)
            with suppress(UnreadableAudio):
                assert np.isfinite(read_mono(path)).all()
    unknown = whole_of_unknown_codec(tmp_path)
    with pytest.raises(UnreadableAudio, match="unknown codec"):
        probe(unknown)


def whole_of_unknown_codec(folder: Path) -> Path:
    path = folder / "unknown.mka"
    write_by_ffmpeg(path, np.zeros((1, 16_000), np.float32), 16000, "aac")
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_XYZ"))
    return path


def test_hours_of_a_phone_are_decoded_once_for_all_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, counted = tmp_path / "a.m4a", []
    write_by_ffmpeg(path, np.zeros((1, 160_000), np.float32), 16000, "aac")
    count = reading.FfmpegFile.count
    monkeypatch.setattr(
        reading.FfmpegFile, "count", lambda file: counted.append(file) or count(file)
    )
    for at in range(0, 160_000, 16_000):
        assert len(read_mono(path, offset=at, frames=16_000)) == 16_000
    assert len(counted) == 1
