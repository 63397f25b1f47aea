"""What keeping freed memory in the process is worth: a training step and an embedding pass, CPU.

python benchmarks/bench_host_memory.py --json host_memory.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

CLIPS, FRAMES, MELS = 64, 96, 64


def clips_per_second(keep: bool, train: bool, steps: int) -> float:
    """Time AudioNTT (d=512) on noise in this process; best of ``steps``."""
    import torch

    from unfused import encoders
    from unfused.training.precision import keep_freed_memory

    if keep:
        keep_freed_memory()
    encoder = encoders.create("audio_ntt", d=512).train(train)
    crops = torch.randn(CLIPS if train else 4 * CLIPS, 1, MELS, FRAMES)
    best = float("inf")
    for _ in range(steps):
        started = time.process_time()
        with torch.set_grad_enabled(train):
            out = encoder(crops)
        if train:
            out.square().mean().backward()
        best = min(best, time.process_time() - started)
    return len(crops) / best


def in_new_process(keep: bool, train: bool, steps: int) -> float:
    """The setting holds for a process, so each variant has its own."""
    command = [sys.executable, __file__, "--one", str(int(keep)), str(int(train)), str(steps)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Print clips per CPU-second with and without, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", type=int, nargs=3)
    args = parser.parse_args()
    if args.one:
        keep, train, steps = args.one
        print(clips_per_second(bool(keep), bool(train), steps))
        return
    report = {}
    for name, train in (("training step", True), ("embedding", False)):
        plain, kept = (in_new_process(keep, train, args.steps) for keep in (False, True))
        report[name] = {"plain": round(plain), "kept": round(kept), "ratio": round(kept / plain, 2)}
        print(f"{name}: {plain:.0f} -> {kept:.0f} clips/CPU-s, {kept / plain:.2f}x")
    if args.json:
        args.json.write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
