"""Log-mel extraction against a librosa loop over the same 44.1 kHz FLAC files, one thread each.

    python benchmarks/bench_log_mel.py --json log_mel.json

Both decode, resample with soxr HQ and compute the same log-mels; ours also writes the store. Each
figure is the best of several repeats, in wall time and in the process's own CPU time; the ways are
measured in turn.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import joblib
import librosa
import numpy as np
import pandas as pd
import soundfile as sf
import torch
from threadpoolctl import threadpool_limits

from unfused.data.extraction import extract_log_mels
from unfused.data.log_mel import FrontEnd
from unfused.data.manifest import scan_audio
from unfused.data.reading import fast_flac

RATE = 44100


def write_clips(folder: Path, n_clips: int, seconds: float) -> None:
    """Write decaying harmonic tones with a noise floor, 16-bit mono FLAC."""
    time_axis = np.arange(round(seconds * RATE)) / RATE
    for i in range(n_clips):
        rng = np.random.default_rng(i)
        pitch = rng.uniform(80, 800)
        tones = [np.sin(2 * np.pi * pitch * k * time_axis) / k for k in range(1, 13)]
        wave = 0.2 * np.sum(tones, axis=0) * np.exp(-time_axis) + 0.002 * rng.standard_normal(
            time_axis.size
        )
        sf.write(folder / f"{i:05d}.flac", wave, RATE)


def librosa_loop(paths: list[str], front_end: FrontEnd) -> None:
    """Compute every clip's log-mel the way a script does."""
    for path in paths:
        waveform, _ = librosa.load(path, sr=front_end.sample_rate, res_type="soxr_hq")
        mel = librosa.feature.melspectrogram(
            y=waveform,
            sr=front_end.sample_rate,
            n_fft=front_end.n_fft,
            hop_length=front_end.hop,
            n_mels=front_end.n_mels,
            fmin=front_end.f_min,
            fmax=front_end.f_max,
            pad_mode="reflect",
        )
        np.log(mel + front_end.eps)


def seconds_of(function: Callable[[], object]) -> tuple[float, float]:
    """Return the wall time and this process's CPU time of one call in seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def best_of(ways: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, np.ndarray]:
    """Return each way's least wall and CPU time in seconds, (2,); the ways take turns."""
    for way in ways.values():
        way()  # imports, worker start and the page cache
    rounds = [{name: seconds_of(way) for name, way in ways.items()} for _ in range(repeats)]
    return {name: np.min([times[name] for times in rounds], axis=0) for name in ways}


def extract(manifest: pd.DataFrame, folder: Path, front_end: FrontEnd, n_jobs: int) -> None:
    """Extract everything anew."""
    shutil.rmtree(folder, ignore_errors=True)
    per_shard = -(-len(manifest) // 8)
    extract_log_mels(manifest, folder, front_end, clips_per_shard=per_shard, n_jobs=n_jobs)


def measure(minutes: float, seconds: float, repeats: int) -> dict[str, float]:
    """Return the clips per second of each way and their ratios for clips of one length."""
    front_end, cores = FrontEnd(), joblib.cpu_count()
    n_clips = -(-round(60 * minutes) // max(1, round(seconds)))
    with tempfile.TemporaryDirectory() as name:
        audio, store = Path(name) / "audio", Path(name) / "store"
        audio.mkdir()
        write_clips(audio, n_clips, seconds)
        manifest, _ = scan_audio(audio, corpus="bench", labels="none")
        ways: dict[str, Callable[[], object]] = {
            "librosa": lambda: librosa_loop(list(manifest["path"]), front_end),
            "one": lambda: extract(manifest, store, front_end, 1),
            "workers": lambda: extract(manifest, store, front_end, cores),
        }
        best = best_of(ways, repeats)
    return {
        "seconds": seconds,
        **{f"{way}_clips_per_s": n_clips / wall for way, (wall, _cpu) in best.items()},
        "speed_up_wall": best["librosa"][0] / best["one"][0],
        "speed_up_cpu": best["librosa"][1] / best["one"][1],
        "scaling": best["one"][0] / best["workers"][0],
        "cores": cores,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=64, help="of audio: workers from 60 on")
    parser.add_argument("--seconds", type=float, nargs="+", default=[1.0, 4.0, 10.0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    threadpool_limits(1)
    results = [
        measure(arguments.minutes, seconds, arguments.repeats) for seconds in arguments.seconds
    ]
    print(pd.DataFrame(results).round(2).to_string(index=False))
    print("FLAC decoder:", "libsndfile" if fast_flac is None else "miniaudio (dr_flac)")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
