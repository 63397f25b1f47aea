"""Long versions of the tests of reliability; each part can be left out by a zero.

python benchmarks/soak.py --files 10000 --kills 50 --scarce 3 --minutes 60

mutated audio files; runs that are stopped at random; runs on a full disk, with 64 open files, with
little memory and with two workers; one long training whose memory and open files stay as they are.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile

from unfused.data.reading import UnreadableAudio, read_mono

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests/project"))

from attacks import contents  # noqa: E402  what the tests take for equal, too

PIPELINES = (
    *("unfused", "slicer", "delores_m", "conformer"),
    *("delores_s", "byol_a", "cola", "selfie"),
)
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
FORMATS = (("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None))


def start(
    pipeline: str, data: Path, *params: str, limits: Mapping[int, int] | None = None
) -> subprocess.Popen[str]:
    """Start a pipeline of the test environment on a data folder, under limits of the system."""

    def set_limits() -> None:
        for name, value in (limits or {}).items():
            resource.setrlimit(name, (value, value))

    environment = {**os.environ, "UNFUSED_TEST_DATA_ROOT": str(data), "TQDM_DISABLE": "1"}
    command = [sys.executable, "-m", "kedro", "run", "--env=test", f"--pipelines={pipeline}"]
    return subprocess.Popen(
        [*command, *(["--params", ",".join(params)] if params else [])],
        preexec_fn=set_limits,
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finished(pipeline: str, data: Path, *params: str) -> None:
    """Run a pipeline to its end."""
    process = start(pipeline, data, *params)
    output, _ = process.communicate()
    assert process.returncode == 0, output


def assert_equal(whole: Path, other: Path) -> None:
    """See that two folders hold the same results, to the bit."""
    expected, found = contents(whole), contents(other)
    different = [name for name in {**expected, **found} if expected.get(name) != found.get(name)]
    assert not different, different


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
        late = -number if "finished in" in output else 0  # Python was going home already
        expected = (0, -signal.SIGKILL, 128 + number, late)
        assert process.returncode in expected, (process.returncode, number, output)
        if number != signal.SIGKILL:
            slowest = max(slowest, time.monotonic() - began)
    finished(pipeline, data)
    assert_equal(folder / "whole", data)
    return slowest


def run_out(folder: Path, n_times: int, draw: random.Random) -> None:
    """Let the disk, files and memory run out, print how runs end, and see that they go on."""
    data = folder / "data"
    data.mkdir(parents=True)
    finished("unfused", data)
    size = sum(file.stat().st_size for file in data.rglob("*") if file.is_file())
    data.rename(folder / "whole")
    data.mkdir()
    if can_mount(data):
        for _ in range(n_times):
            room = round(size * draw.uniform(0.05, 0.95))
            mount(data, room)
            try:
                _, said = ended(start("unfused", data), 1)
                mount(data, 4 * size, "remount")
                finished("unfused", data)
                assert_equal(folder / "whole", data)
            finally:
                subprocess.run(["umount", data], check=True)
            print(f"a disk of {room / 2**20:.0f} MiB: {said}; with room it goes on", flush=True)
    else:
        print("a full disk: left out, only root can make a small one")
    code, said = ended(start("unfused", data, limits={resource.RLIMIT_NOFILE: 64}), 0, 1)
    print(f"64 open files: exit status {code}, {said}", flush=True)
    finished("unfused", data)
    assert_equal(folder / "whole", data)
    for gigabytes in [draw.uniform(2, 6) for _ in range(n_times)]:
        shutil.rmtree(data)
        limits = {resource.RLIMIT_AS: round(gigabytes * 2**30)}
        code, said = ended(start("unfused", data, limits=limits), 0, 1, -signal.SIGABRT, -11, 134)
        print(f"{gigabytes:.1f} GiB of addresses: exit status {code}, {said}", flush=True)
        finished("unfused", data)
        assert_equal(folder / "whole", data)
    shutil.rmtree(data)
    finished("unfused", data, "extraction.n_jobs=2")
    assert_equal(folder / "whole", data)
    print("two workers in place of one: the same results", flush=True)


def can_mount(folder: Path) -> bool:
    """Return whether a small disk can be made here."""
    try:
        mount(folder, 2**20)
    except (OSError, subprocess.CalledProcessError):
        return False
    subprocess.run(["umount", folder], check=True)
    return True


def mount(folder: Path, size: int, how: str = "rw") -> None:
    """Make a disk of so many bytes in memory, or let it grow."""
    options = f"{how},size={size}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)


def ended(process: subprocess.Popen[str], *codes: int) -> tuple[int, str]:
    """Return the exit status, which must be one of these, and the last line that was said."""
    output, _ = process.communicate()
    assert process.returncode in codes, output
    return process.returncode, output.strip().splitlines()[-1][:200]


def train_long(folder: Path, minutes: float) -> None:
    """Train for some time; memory and open files must not grow after the first quarter."""
    process, seen = start("slicer", folder, "methods.slicer.training.clip_updates=100000000"), []
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        time.sleep(min(10.0, 6 * minutes))
        assert process.poll() is None, process.communicate()[0]
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        files = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
        seen.append((pages * resource.getpagesize() / 2**20, files))
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM, output
    first, last = seen[len(seen) // 4 :][:3], seen[-3:]
    (before, files_before), (after, files_after) = (
        (max(memory for memory, _ in part), max(files for _, files in part))
        for part in (first, last)
    )
    text = f"{before:.0f} to {after:.0f} MiB, {files_before} to {files_after} open files"
    assert after < 1.05 * before + 20, text
    assert files_after <= files_before, text
    print(f"training for {minutes:g} minutes: {text}", flush=True)


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
    """Run all parts and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--scarce", type=int, default=3, help="times for each kind")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    draw = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as place:
        if given.files:
            refused = mutate_audio(Path(place), given.files, draw)
            print(f"{given.files} mutated audio files: {refused} refused, no other error")
        if given.scarce:
            run_out(Path(place) / "scarce", given.scarce, draw)
        if given.minutes:
            train_long(Path(place) / "long", given.minutes)
        for number, pipeline in enumerate(PIPELINES):
            n_kills = len(range(number, given.kills, len(PIPELINES)))
            if n_kills:
                folder = Path(place) / pipeline
                slowest = kill_at_random(pipeline, folder, n_kills, draw)
                text = "stopped {} times, ended as if never; SIGTERM and SIGINT within {:.1f} s"
                print(f"{pipeline}:", text.format(n_kills, slowest), flush=True)


if __name__ == "__main__":
    main()
