"""Long versions of the tests of reliability: runs killed at random, and mutated audio files.

python benchmarks/soak.py --kills 50 --files 10000
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from unfused.data.reading import UnreadableAudio, read_mono

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests/project"))

from attacks import contents  # noqa: E402  what the tests take for equal, too

PIPELINES = ("unfused", "slicer", "delores_m", "conformer")
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
FORMATS = (("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None))


def start(pipeline: str, data: Path) -> subprocess.Popen[str]:
    """Start a pipeline of the test environment on a data folder."""
    environment = {**os.environ, "UNFUSED_TEST_DATA_ROOT": str(data), "TQDM_DISABLE": "1"}
    command = [sys.executable, "-m", "kedro", "run", "--env=test", f"--pipelines={pipeline}"]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finished(pipeline: str, data: Path) -> None:
    """Run a pipeline to its end."""
    process = start(pipeline, data)
    output, _ = process.communicate()
    assert process.returncode == 0, output


def kill_at_random(pipeline: str, folder: Path, n_kills: int, draw: random.Random) -> float:
    """Stop a pipeline at random moments, then let it end as one that was never stopped.

    Returns:
        The longest time that a run took to end after SIGTERM or SIGINT, in seconds.
    """
    began = time.monotonic()
    data = folder / "data"  # tables name files by their paths, so both runs are at one place
    finished(pipeline, data)
    data.rename(folder / "whole")
    took, slowest = time.monotonic() - began, 0.0
    for _ in range(n_kills):
        process, number = start(pipeline, data), draw.choice(SIGNALS)
        time.sleep(draw.uniform(0.0, took))
        process.send_signal(number)
        began = time.monotonic()
        output, _ = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL, 128 + number), output
        if number != signal.SIGKILL:
            slowest = max(slowest, time.monotonic() - began)
    finished(pipeline, data)
    whole, killed = contents(folder / "whole"), contents(data)
    different = [name for name in {**whole, **killed} if whole.get(name) != killed.get(name)]
    assert not different, different
    return slowest


def mutate_audio(folder: Path, n_files: int, draw: random.Random) -> int:
    """Read files with changed, lost and added bytes; return how many were refused.

    Anything but samples or an :class:`UnreadableAudio` is an error.
    """
    noise, refused = np.random.default_rng(0).uniform(-0.5, 0.5, 8000), 0
    for index in range(n_files):
        container, subtype = FORMATS[index % len(FORMATS)]
        file = folder / "mutated"
        soundfile.write(
            file, noise, 16000 if subtype != "OPUS" else 48000, subtype, format=container
        )
        data = bytearray(file.read_bytes())
        for _ in range(draw.randint(1, 8)):
            place = draw.randrange(len(data))
            kind = draw.randrange(3)
            if kind == 0:
                data[place] = draw.randrange(256)
            elif kind == 1:
                del data[place : place + draw.randint(1, 500)]
            else:
                data[place:place] = draw.randbytes(draw.randint(1, 500))
            data = data or bytearray(1)
        file.write_bytes(data)
        try:
            assert np.isfinite(read_mono(file)).all()
        except UnreadableAudio:
            refused += 1
    return refused


def main() -> None:
    """Run both and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    draw = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as place:
        refused = mutate_audio(Path(place), given.files, draw)
        print(f"{given.files} mutated audio files: {refused} refused, no other error", flush=True)
        for number, pipeline in enumerate(PIPELINES):
            n_kills = len(range(number, given.kills, len(PIPELINES)))
            if n_kills:
                folder = Path(place) / pipeline
                slowest = kill_at_random(pipeline, folder, n_kills, draw)
                text = "stopped {} times, ended as if never; SIGTERM and SIGINT within {:.1f} s"
                print(f"{pipeline}:", text.format(n_kills, slowest), flush=True)


if __name__ == "__main__":
    main()
