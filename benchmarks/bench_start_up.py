"""How long Kedro commands of this project take before they work, beside importing torch.

python benchmarks/bench_start_up.py --json start_up.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = {
    "import torch, torchaudio": ["-c", "import torch, torchaudio"],
    "kedro --version": ["-m", "kedro", "--version"],
    "kedro registry list": ["-m", "kedro", "registry", "list"],
    "first line of kedro run": ["-m", "kedro", "run", "--pipeline=unfused", "--nodes=none"],
}


def seconds(command: list[str]) -> float:
    """Time one command; a run of a node that does not exist ends as soon as it is set up."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, check=False)
    return time.perf_counter() - started


def main() -> None:
    """Print the median of each command and its ratio to the import of torch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = {
        name: sorted(seconds(command) for _ in range(args.repeats))[args.repeats // 2]
        for name, command in COMMANDS.items()
    }
    torch = found["import torch, torchaudio"]
    report = {
        name: {"seconds": round(s, 2), "ratio": round(s / torch, 2)} for name, s in found.items()
    }
    for name, row in report.items():
        print(f"{name}: {row['seconds']} s, {row['ratio']}x the import of torch")
    if args.json:
        args.json.write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
