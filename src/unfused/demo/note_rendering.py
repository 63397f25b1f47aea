"""One note of a SoundFont as a FLAC file."""

from __future__ import annotations

import importlib
import importlib.util
import io
import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile

SILENCE = 1e-4  # RMS, -80 dB of full scale
_HELD = 0.75  # part of a clip during which the key is down
_TICKS_PER_QUARTER = 500  # at MIDI's default tempo, 120 quarters a minute, one tick is 1 ms
_SOUNDFONT = "TimGM6mb.sf2"


class DemoUnavailableError(RuntimeError):
    """What the demo corpus is rendered with is not installed."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the demo corpus cannot be rendered: {reason}. Install it with\n"
            '    pip install "unfused[demo]"\n'
            "or, where that has no build for this machine, use audio of your own:\n"
            "    make unfused DATA=<folder>"
        )


def find_soundfont() -> Path:
    """Return the SoundFont in the installed ``pretty_midi``, and check that a renderer is there.

    Raises:
        DemoUnavailableError: ``midirenderer``, ``pretty_midi`` or its SoundFont is missing.
    """
    try:
        importlib.import_module("midirenderer")
    except ImportError as error:
        raise DemoUnavailableError(f"midirenderer cannot be imported ({error})") from error
    package = importlib.util.find_spec("pretty_midi")
    if package is None or not package.submodule_search_locations:
        raise DemoUnavailableError("pretty_midi, which ships the SoundFont, is not installed")
    path = Path(package.submodule_search_locations[0]) / _SOUNDFONT
    if not path.is_file():
        raise DemoUnavailableError(f"the installed pretty_midi does not ship {_SOUNDFONT}")
    return path


def render_note(
    soundfont: Path, programme: int, pitch: int, velocity: int, seconds: float
) -> tuple[np.ndarray, int]:
    """Render one note, mixed down.

    Args:
        soundfont: The SoundFont file.
        programme: General MIDI programme, 0 to 127.
        pitch: MIDI pitch, 60 = middle C.
        velocity: MIDI velocity, 1 to 127.
        seconds: Length of the clip; the key is released after three quarters of it.

    Returns:
        The waveform, (N,) int16, and its sample rate in Hz, which is the renderer's own.
    """
    import midirenderer  # an optional extra: needed only here

    wave = midirenderer.render_wave_from(
        _content(soundfont), midi_note(programme, pitch, velocity, seconds)
    )
    channels, rate = soundfile.read(io.BytesIO(wave), dtype="int16", always_2d=True)  # (N, 2)
    mono = np.zeros(round(seconds * rate), dtype=np.int16)
    length = min(len(mono), len(channels))
    mono[:length] = channels[:length].astype(np.int32).sum(axis=1) // channels.shape[1]
    return mono, int(rate)


@lru_cache(maxsize=1)
def _content(path: Path) -> bytes:
    return path.read_bytes()


def midi_note(programme: int, pitch: int, velocity: int, seconds: float) -> bytes:
    """Return a Standard MIDI File (format 0) of one note, ``seconds`` long in all."""
    held, total = round(1000 * seconds * _HELD), round(1000 * seconds)
    track = b"".join(
        (
            bytes((0, 0xC0, programme)),
            bytes((0, 0x90, pitch, velocity)),
            variable_length(held) + bytes((0x80, pitch, 0)),
            variable_length(total - held) + b"\xff\x2f\x00",
        )
    )
    header = b"MThd" + bytes((0, 0, 0, 6, 0, 0, 0, 1)) + _TICKS_PER_QUARTER.to_bytes(2, "big")
    return header + b"MTrk" + len(track).to_bytes(4, "big") + track


def variable_length(value: int) -> bytes:
    """Return MIDI's variable-length number: seven bits a byte, the top bit set on all but the last.

    >>> variable_length(1125).hex()
    '8865'
    """
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(value & 0x7F | 0x80)
    return bytes(reversed(digits))


def write_note(
    path: Path, soundfont: Path, programme: int, pitch: int, velocity: int, seconds: float
) -> bool:
    """Render one note into a mono FLAC file that is there whole or not at all.

    Returns:
        Whether the note can be heard; a silent one is not written.
    """
    waveform, rate = render_note(soundfont, programme, pitch, velocity, seconds)
    if np.sqrt(np.mean((waveform / 32768.0) ** 2)) < SILENCE:
        return False
    encoded = io.BytesIO()
    soundfile.write(encoded, waveform, rate, format="FLAC", subtype="PCM_16")
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp")
    temporary.write_bytes(encoded.getvalue())
    os.replace(temporary, path)
    return True
