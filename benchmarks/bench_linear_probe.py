"""The linear probe against the same layer trained with Adam, and at 100,000 clips.

The other side is EVAR's protocol: standardised features, Adam with batches of 200 from a DataLoader
over a TensorDataset, at most 200 epochs, stopping after 20 without a better validation accuracy.
EVAR has a learning rate for each encoder (3e-4 for BYOL-A); for a new encoder it has to be
searched, so the whole grid is timed too. Prints seconds of CPU time and accuracy; with --large also
time and peak memory of the probe at 100,000 clips of 2,048 dimensions, in a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from unfused.evaluation.linear_probe import LinearProbe

DIM, CLASSES = 2048, 35
RATES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3)


def make(n: int, separation: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return correlated non-negative features, as a ReLU leaves them, and labels."""
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(1)
    labels = rng.integers(CLASSES, size=n)
    centres = separation * fixed.standard_normal((CLASSES, 60), "f4")
    mixing = fixed.standard_normal((60, DIM), "f4") / np.float32(60**0.5)
    features = np.empty((n, DIM), "f4")
    for first in range(0, n, 4096):
        rows = slice(first, first + 4096)
        hidden = centres[labels[rows]]
        hidden = hidden + rng.standard_normal(hidden.shape, "f4")
        noise = rng.standard_normal((len(hidden), DIM), "f4")
        features[rows] = np.maximum(hidden @ mixing + noise / 2, 0.0)
    return features, labels


def adam_layer(x, y, x_valid, y_valid, rate: float) -> tuple[nn.Module, float]:
    """Train a linear layer on standardised features as EVAR does; return its validation score."""
    torch.manual_seed(0)
    layer = nn.Linear(DIM, CLASSES)
    optimiser = torch.optim.Adam(layer.parameters(), rate, weight_decay=1e-8)
    targets = torch.from_numpy(y)
    batches = DataLoader(TensorDataset(x, targets), batch_size=200, shuffle=True)
    best, kept, since = 0.0, layer.state_dict(), 0
    for _ in range(200):
        for rows, labels in batches:
            loss = nn.functional.cross_entropy(layer(rows), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        score = float((layer(x_valid).argmax(1).numpy() == y_valid).mean())
        since += 1
        if score > best:
            best, since = score, 0
            kept = {key: value.clone() for key, value in layer.state_dict().items()}
        if since >= 20:
            break
    layer.load_state_dict(kept)
    return layer, best


def compare(separation: float) -> pd.DataFrame:
    """Time both on 4,500 clips of 2,048 dimensions in 35 classes."""
    (x, y), (xv, yv), (xt, yt) = (make(n, separation, s) for s, n in enumerate((4500, 1000, 2000)))
    begin = time.process_time()
    probe = LinearProbe().fit(x, y, xv, yv)
    ours = time.process_time() - begin
    rows = [("convex", ours, float((probe.predict(xt) == yt.astype(str)).mean()))]
    mean, std = x.mean(0), x.std(0)
    scaled = [torch.from_numpy((part - mean) / std) for part in (x, xv, xt)]
    chosen, spent = (0.0, 0.0), 0.0
    for rate in RATES:
        begin = time.process_time()
        layer, score = adam_layer(scaled[0], y, scaled[1], yv, rate)
        seconds = time.process_time() - begin
        with torch.inference_mode():
            accuracy = float((layer(scaled[2]).argmax(1).numpy() == yt).mean())
        rows.append((f"Adam {rate:g}", seconds, accuracy))
        chosen, spent = max(chosen, (score, accuracy)), spent + seconds
    rows.append(("Adam, best rate on validation", spent, chosen[1]))
    found = pd.DataFrame(rows, columns=["probe", "cpu_seconds", "accuracy"])
    return found.assign(separation=separation, ratio=found["cpu_seconds"] / ours)


def large(n: int) -> pd.DataFrame:
    """Time the probe on many clips; the peak is that of the whole process, features included."""
    (x, y), (xv, yv), (xt, yt) = (make(m, 0.35, s) for s, m in enumerate((n, n // 10, n // 10)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    begin, wall = time.process_time(), time.monotonic()
    probe = LinearProbe().fit(x, y, xv, yv)
    spent = {"cpu_seconds": time.process_time() - begin, "seconds": time.monotonic() - wall}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    accuracy = float((probe.predict(xt) == yt.astype(str)).mean())
    return pd.DataFrame([
        {"clips": n, "GiB_before": before, "peak_GiB": peak, **spent, "accuracy": accuracy,
         "penalties": len(probe.scores_), "chosen": probe.strength_},
    ])  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="100,000 clips too")
    parser.add_argument("--clips", type=int, help="only so many clips, in this process")
    arguments = parser.parse_args()
    if arguments.clips:
        print(large(arguments.clips).round(3).to_string(index=False))
        sys.exit()
    found = pd.concat([compare(separation) for separation in (0.55, 0.35)])
    print(found.round(3).to_string(index=False))
    if arguments.large:
        subprocess.run([sys.executable, __file__, "--clips", "100000"], check=True)
