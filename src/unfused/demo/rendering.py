"""Notes of a General MIDI SoundFont, played, recorded and cut into FLAC files."""

import hashlib
import io
import os
import wave
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
from joblib import Parallel, delayed
from numpy.typing import NDArray

from ..core.errors import UserError
from ..core.progress import progress

SOUNDFONT, SOUNDFONT_DIGEST = "TimGM6mb.sf2", "6894675458a6a3cb9237338407825070"
SAMPLE_RATE = 16_000
_FACTOR = 3  # the renderer makes 48 kHz
_BEND = 8191 / 200  # a MIDI pitch bend reaches two semitones


class Note(NamedTuple):
    """A note: General MIDI programme, MIDI pitch and velocity, key down and up in seconds."""

    programme: int
    pitch: int
    velocity: int
    start: float
    end: float


class Recording(NamedTuple):
    """Where and how a take is recorded."""

    reverb: int  # share of reverberation, 0 to 127
    cents: float  # how far the instrument is out of tune
    gains: tuple[float, ...]  # of the microphone at 62.5, 125, ... 8000 Hz, dB
    snr: float  # level of the instrument over the background noise, dB
    slope: float  # the noise's amplitude falls with frequency to this power
    peak: float  # level of the loudest sample, dB of full scale
    seed: int  # of the noise


class Take(NamedTuple):
    """Notes played in one go, and the files of equal length that they are cut into, in order.

    Without a recording they sound as the renderer makes them.
    """

    notes: tuple[Note, ...]
    paths: tuple[str, ...]
    recording: Recording | None = None


@cache
def find_soundfont() -> bytes:
    """Return the SoundFont that the installed ``pretty_midi`` ships.

    Raises:
        UserError: ``midirenderer`` or ``pretty_midi`` is not installed, or the SoundFont is not
            the one that ``instruments.csv`` describes.
    """
    try:
        import midirenderer  # noqa: F401
        import pretty_midi  # noqa: F401

        content = (files("pretty_midi") / SOUNDFONT).read_bytes()
        digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        wrong = "" if digest == SOUNDFONT_DIGEST else f"{SOUNDFONT} is another file ({digest})"
    except (ImportError, FileNotFoundError) as error:
        wrong = str(error)
    if wrong:
        raise UserError(
            f"the demo corpus cannot be rendered: {wrong}. Install what it needs with\n"
            '    pip install "unfused[demo]"\n'
            "or, where that has no build for this machine, use audio of your own",
            remedy="audio",
        )
    return content


def render_takes(folder: Path, takes: Sequence[Take], seconds: float, n_jobs: int = -1) -> None:
    """Render those takes of which a clip of ``seconds`` is missing in ``folder``."""
    missing = [t for t in takes if not all((folder / path).is_file() for path in t.paths)]
    for parent in {(folder / path).parent for take in missing for path in take.paths}:
        parent.mkdir(parents=True, exist_ok=True)
    jobs = [delayed(_write)(folder, take, seconds) for take in missing]
    in_processes(jobs, folder, n_jobs, desc="rendering", unit="take")


def in_processes(jobs: Sequence[Any], folder: Path, n_jobs: int, **shown: Any) -> None:
    """Run delayed jobs, many in processes; what these leave meanwhile lies in the folder."""
    workers = 1 if len(jobs) < 100 else n_jobs  # few are not worth starting processes for
    nowhere = {"max_nbytes": None, "temp_folder": str(folder)}  # as in data.extraction
    done = Parallel(n_jobs=workers, return_as="generator", batch_size=8, **nowhere)(jobs)
    list(progress(done, total=len(jobs), **shown))


def _write(folder: Path, take: Take, seconds: float) -> None:
    clips = play(take, seconds * len(take.paths)).reshape(len(take.paths), -1)
    for path, clip in zip(take.paths, clips, strict=True):
        write_clip(folder / path, clip)


def write_clip(file: Path, clip: NDArray[np.float32]) -> None:
    """Write samples at 16 kHz, (N,), as FLAC; a file half written never has the name."""
    aside = file.with_name(f"{file.name}.tmp")  # in memory: by callbacks, which swallow Ctrl-C
    soundfile.write(aside, clip, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    os.replace(aside, file)


def play(take: Take, seconds: float) -> NDArray[np.float32]:
    """Return what is heard of a take, mixed down, (N,) at 16 kHz."""
    import midirenderer

    content = midirenderer.render_wave_from(find_soundfont(), _midi_file(take, seconds))
    with wave.open(io.BytesIO(content)) as file:  # soundfile would read it by callbacks, as below
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    stereo = samples.reshape(-1, 2).astype(np.float32) / 2**15  # (3 N, 2), about
    length = round(seconds * SAMPLE_RATE)
    mono = np.zeros(length * _FACTOR, np.float32)
    mono[: len(stereo)] = (stereo[:, 0] + stereo[:, 1])[: len(mono)] / 2
    spectrum = np.fft.rfft(mono)[: length // 2 + 1] / _FACTOR  # resampled
    if how := take.recording:
        hertz = np.linspace(0, SAMPLE_RATE / 2, len(spectrum), dtype=np.float32)
        octaves = np.log2(np.maximum(hertz, 62.5) / 62.5)
        spectrum *= 10 ** (np.interp(octaves, range(len(how.gains)), how.gains) / 20)
        noise = np.random.default_rng(how.seed).standard_normal((2, len(hertz)), np.float32)
        noise = (noise[0] + 1j * noise[1]) * (hertz + 50) ** -how.slope
        ratio = np.linalg.norm(spectrum) / np.linalg.norm(noise)
        spectrum += ratio * 10 ** (-how.snr / 20) * noise
    heard = np.fft.irfft(spectrum, length)
    if how:
        heard *= 10 ** (how.peak / 20) / np.abs(heard).max()
    return heard.astype(np.float32)


def _midi_file(take: Take, seconds: float) -> bytes:
    """Return a Standard MIDI File that lasts ``seconds``."""
    import pretty_midi as midi

    file = midi.PrettyMIDI(resolution=500, initial_tempo=120)  # a tick is 1 ms
    for programme in sorted({note.programme for note in take.notes}):
        part = midi.Instrument(programme)
        played = [note for note in take.notes if note.programme == programme]
        part.notes = [midi.Note(n.velocity, n.pitch, n.start, n.end) for n in played]
        part.control_changes = [midi.ControlChange(11, 127, seconds)]  # the end
        if how := take.recording:
            part.control_changes.append(midi.ControlChange(91, how.reverb, 0))
            part.pitch_bends = [midi.PitchBend(round(how.cents * _BEND), 0)]
        file.instruments.append(part)
    content = io.BytesIO()
    file.write(content)
    return content.getvalue()
