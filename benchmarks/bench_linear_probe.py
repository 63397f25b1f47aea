"""The linear probe against the same layer trained with Adam, and at 100,000 clips.

The other side is EVAR's protocol: Adam at one learning rate, a DataLoader over a TensorDataset, at
most 200 epochs, stopping after 20 without a better validation score. Prints seconds of CPU time,
accuracy and the ratio; with --large also time and peak memory at 100,000 clips of 2,048 dimensions.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from unfused.evaluation.linear_probe import LinearProbe


def make(n: int, dim: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return correlated non-negative features, as a ReLU leaves them, and labels."""
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(1)
    labels = rng.integers(classes, size=n)
    centres = fixed.normal(size=(classes, 60)).astype("f4")
    mixing = fixed.normal(size=(60, dim)).astype("f4") / 60**0.5
    hidden = 0.55 * centres[labels] + rng.normal(size=(n, 60)).astype("f4")
    features = hidden @ mixing
    features += 0.5 * rng.standard_normal(size=(n, dim), dtype="f4")
    return np.maximum(features, 0.0, out=features), labels


def adam_layer(x, y, x_valid, y_valid, classes: int) -> nn.Module:
    """Train a standardising linear layer as EVAR does."""
    torch.manual_seed(0)
    mean, std = torch.tensor(x.mean(0)), torch.tensor(x.std(0))
    scale = lambda rows: (torch.from_numpy(rows) - mean) / std  # noqa: E731
    data, targets = scale(x), torch.from_numpy(y)
    held_out, truth = scale(x_valid), torch.from_numpy(y_valid)
    layer = nn.Linear(x.shape[1], classes)
    optimiser = torch.optim.Adam(layer.parameters(), 3e-4, weight_decay=1e-8)
    batches = DataLoader(TensorDataset(data, targets), batch_size=256, shuffle=True)
    best, kept, since = 0.0, layer.state_dict(), 0
    for _ in range(200):
        for rows, labels in batches:
            loss = nn.functional.cross_entropy(layer(rows), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        score = float((layer(held_out).argmax(1) == truth).float().mean())
        since += 1
        if score > best:
            best, since = score, 0
            kept = {key: value.clone() for key, value in layer.state_dict().items()}
        if since >= 20:
            break
    layer.load_state_dict(kept)
    return nn.Sequential(Standardise(mean, std), layer)


class Standardise(nn.Module):
    """Subtract the mean, divide by the deviation."""

    def __init__(self, mean: torch.Tensor, std: torch.Tensor) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Scale rows, (N, D)."""
        return (rows - self.mean) / self.std


def compare() -> pd.DataFrame:
    """Time both on 4,500 clips of 2,048 dimensions in 35 classes."""
    (x, y), (xv, yv), (xt, yt) = (make(n, 2048, 35, s) for s, n in enumerate((4500, 1000, 2000)))
    begin = time.process_time()
    probe = LinearProbe().fit(x, y, xv, yv)
    ours = time.process_time() - begin
    begin = time.process_time()
    layer = adam_layer(x, y, xv, yv, 35)
    theirs = time.process_time() - begin
    with torch.inference_mode():
        guess = layer(torch.from_numpy(xt)).argmax(1).numpy()
    accuracy = float((probe.predict(xt) == yt.astype(str)).mean())
    return pd.DataFrame([
        {"probe": "convex, 8 penalties", "cpu_seconds": ours, "accuracy": accuracy, "ratio": 1.0},
        {"probe": "Adam, one setting", "cpu_seconds": theirs,
         "accuracy": float((guess == yt).mean()), "ratio": theirs / ours},
    ])  # fmt: skip


def large() -> pd.DataFrame:
    """Time the probe on 100,000 clips of 2,048 dimensions in 35 classes."""
    x, y = make(100_000, 2048, 35)
    xv, yv = make(10_000, 2048, 35, 1)
    begin = time.monotonic()
    LinearProbe().fit(x, y, xv, yv)
    seconds = time.monotonic() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return pd.DataFrame([{"clips": len(x), "seconds": seconds, "peak_GiB": peak}])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="100,000 clips too")
    arguments = parser.parse_args()
    print(compare().round(3).to_string(index=False))
    if arguments.large:
        print(large().round(2).to_string(index=False))
