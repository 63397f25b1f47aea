"""Barlow Twins through the samples' Gram matrices against the cross-correlation matrix itself.

    python benchmarks/bench_barlow_twins.py --batch 128 --json barlow_twins.json

Forward and backward pass of the same loss with the same value. The two take turns and each figure
is the best of several repeats. On a CPU time is the process's CPU time, so that a busy machine
disturbs less; on a GPU it is wall time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from unfused.losses import barlow_twins
from unfused.training.precision import pick_device

LAMBDA = 0.0051


def direct(z_a: Tensor, z_b: Tensor) -> Tensor:
    """Return the loss the plain way: build the D x D matrix and square it."""
    norm = torch.nn.BatchNorm1d(z_a.shape[1], affine=False, track_running_stats=False)
    matrix = norm(z_a).T @ norm(z_b) / len(z_a)
    diagonal = matrix.diagonal()
    off_diagonal = matrix.square().sum() - diagonal.square().sum()
    return (1 - diagonal).square().sum() + LAMBDA * off_diagonal


def ours(z_a: Tensor, z_b: Tensor) -> Tensor:
    """Return the loss of the package."""
    return barlow_twins(z_a, z_b, LAMBDA)


def seconds_of(loss: Callable[[Tensor, Tensor], Tensor], z_a: Tensor, z_b: Tensor) -> float:
    """Return how long one forward and backward pass takes."""
    on_gpu = z_a.device.type == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time
    if on_gpu:
        torch.cuda.synchronize(z_a.device)
    start = clock()
    loss(z_a, z_b).backward()
    if on_gpu:
        torch.cuda.synchronize(z_a.device)
    return clock() - start


def measure(batch: int, dim: int, repeats: int, device: torch.device) -> dict[str, float]:
    """Return milliseconds of both ways, their ratio and the relative difference of their values."""
    generator = torch.Generator().manual_seed(0)
    z_a = torch.randn(batch, dim, generator=generator).to(device)
    z_b = z_a + 0.5 * torch.randn(batch, dim, generator=generator).to(device)
    views = (z_a.requires_grad_(), z_b.requires_grad_())
    ways = {"direct": direct, "gram": ours}
    values = {name: float(way(*views).detach()) for name, way in ways.items()}
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(repeats + 1):  # the first one warms up
        for name, way in ways.items():
            best[name] = min(best[name], seconds_of(way, *views))
    return {
        "dim": dim,
        **{f"{name}_ms": 1000 * seconds for name, seconds in best.items()},
        "ratio": best["direct"] / best["gram"],
        "difference": abs(values["gram"] / values["direct"] - 1),
    }


def main() -> None:
    """Measure, print a table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--dims", type=int, nargs="+", default=[512, 2048, 8192])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = pick_device(options.device)
    rows = [measure(options.batch, dim, options.repeats, device) for dim in options.dims]
    print(f"{'D':>6}{'direct ms':>12}{'Gram ms':>10}{'ratio':>8}{'difference':>13}")
    for row in rows:
        print(
            f"{row['dim']:>6.0f}{row['direct_ms']:>12.2f}{row['gram_ms']:>10.2f}"
            f"{row['ratio']:>8.1f}{row['difference']:>13.1e}"
        )
    if options.json:
        report = {"batch": options.batch, "device": str(device), "rows": rows}
        options.json.write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
