"""The linear probe against the same layer trained with Adam, in seconds of CPU time.

What a researcher may compare with, each on the same standardised features:

- ``EVAR``: Adam by EVAR's protocol (batches of 200 from a DataLoader, at most 200 epochs, early
  stop after 20 without a better validation accuracy), at each of five rates, and all five, of which
  validation chooses: EVAR has a rate for each encoder, which for a new one has to be searched.
- ``rates x penalties`` (--grid): the same with a penalty on the weights, for five rates and the
  eight penalties that the probe chooses from; batches without a DataLoader, which is faster.
- ``equal objective``, ``equal accuracy``: Adam on the penalised objective at the probe's penalty,
  until it is within 1e-3 of the optimum or stays within 0.2 points of its test accuracy; the best
  rate in hindsight, constant or decaying, with batches and with the full batch. Beside it the
  convex solution at that one penalty from zero. ``inf``: not within 20 times the convex seconds.

The other figures are for the probe as it is used, without LDA: scaler, whole path of penalties,
validation scores with their standard error, calibration, exact solutions at the penalty chosen on
the training clips, whose accuracy is given, and on all. With UNFUSED_DATA set, --real takes
fsdd_digits under
an untrained encoder. --large prints time and peak memory at 100,000 clips in a process of its own.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from adam_probe import BATCH, Parts, Solved, accuracy, evar, objective, until_solved
from unfused.probes.linear_models import Standardised, logistic_path
from unfused.probes.probe import STRENGTHS, Probe

RATES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3)
SHAPES = ((500, 512, 10, 0.55), (4500, 2048, 35, 0.55), (4500, 2048, 35, 0.35))
MOST = 20  # a training that takes so many times the convex solution is given up
Data = list[tuple[np.ndarray, np.ndarray]]
Row = tuple[str, float, float, float]


def make(
    n: int, separation: float, seed: int = 0, dim: int = 2048, classes: int = 35
) -> tuple[np.ndarray, np.ndarray]:
    """Return correlated non-negative features, as a ReLU leaves them, and labels."""
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(1)
    labels = rng.integers(classes, size=n)
    centres = separation * fixed.standard_normal((classes, 60), "f4")
    mixing = fixed.standard_normal((60, dim), "f4") / np.float32(60**0.5)
    features = np.empty((n, dim), "f4")
    for first in range(0, n, 4096):
        rows = slice(first, first + 4096)
        hidden = centres[labels[rows]]
        hidden = hidden + rng.standard_normal(hidden.shape, "f4")
        noise = rng.standard_normal((len(hidden), dim), "f4")
        features[rows] = np.maximum(hidden @ mixing + noise / 2, 0.0)
    return features, labels


def real(dim: int) -> Data:
    """Return fsdd_digits, half for training, embedded by an untrained AudioNTT."""
    from unfused.data.log_mel import FrontEnd
    from unfused.data.reading import probe, read_mono
    from unfused.data.store import LogMelStore
    from unfused.embeddings.read_out import ReadOut, read_out
    from unfused.encoders import AudioNTT, TrainedEncoder

    folder = Path(os.environ["UNFUSED_DATA"]) / "fsdd_digits"
    table, front_end, log_mels = pd.read_csv(folder / "labels.csv", dtype=str), FrontEnd(), {}
    for name in table["path"]:
        info = probe(folder / name)
        frames = min(info.frames, info.sample_rate)
        log_mels[name] = front_end.log_mel(read_mono(folder / name, frames=frames))
    values = np.concatenate([value.ravel() for value in log_mels.values()])
    torch.manual_seed(0)
    encoder = AudioNTT(d=dim, cut="fc2")
    trained = TrainedEncoder(encoder, "untrained", front_end, values.mean(), values.std())
    with tempfile.TemporaryDirectory() as place:
        store = LogMelStore.write(Path(place) / "store", front_end, log_mels)
        own = ReadOut(("fc2",), (encoder.pooling,))
        (x,) = read_out(trained, store, store.rows(table["path"]), [own])
    y = np.unique(table["label"], return_inverse=True)[1]
    order = np.random.default_rng(0).permutation(len(y))
    return [(x[part], y[part]) for part in np.split(order, (len(y) // 2, len(y) * 3 // 4))]


def fitted(x: np.ndarray, y: np.ndarray, x_valid: np.ndarray, y_valid: np.ndarray) -> Probe:
    """Return the probe as it is used, without LDA."""
    valid = np.arange(len(x) + len(x_valid)) >= len(x)
    return Probe(lda=False).fit(np.r_[x, x_valid], np.r_[y, y_valid], valid=valid)


def right_share(probe: Probe, x: np.ndarray, y: np.ndarray) -> float:
    """Return the accuracy of what was fitted on the training clips only, as Adam is."""
    said = probe.classes_[probe.train_.logits(x).argmax(1)]
    return float((said == y.astype(str)).mean())


def compare(data: Data, grid: bool) -> Iterator[Row]:
    """Time both sides; the ratio is to the convex figure that the comparison is with."""
    (x, y), (xv, yv), (xt, yt) = data
    begin = time.process_time()
    probe = fitted(x, y, xv, yv)
    whole = time.process_time() - begin
    right = right_share(probe, xt, yt)
    yield "convex, path of penalties", whole, right, 1.0
    mean, scale = probe.train_.mean, probe.train_.scale
    flat = [(torch.from_numpy((a - mean) / scale), torch.from_numpy(b)) for a, b in data]
    parts = Parts(*flat[0], *flat[1], *flat[2])
    found = {}
    for rate in RATES:
        found[rate] = seconds, _, score, epochs = evar(parts, rate)
        yield f"EVAR, {rate:g}, {epochs} epochs", seconds, score, seconds / whole
    yield _searched("EVAR, five rates", found, whole)
    if grid:
        pairs = itertools.product(RATES, STRENGTHS)
        trained = {pair: evar(parts, *pair, loader=False) for pair in pairs}
        yield _searched("rates x penalties", trained, whole)
    yield from _equal(data, parts, float(probe.setting_))


def _searched(name: str, found: dict, whole: float) -> Row:
    spent = sum(run[0] for run in found.values())
    best = max(found.values(), key=lambda run: run[1])
    return name, spent, best[2], spent / whole


def _equal(data: Data, parts: Parts, strength: float) -> Iterator[Row]:
    """Time how long Adam takes to the convex solution at one penalty."""
    x, y = data[0]
    begin = time.process_time()
    linear = next(logistic_path(Standardised(x, y, y.max() + 1), [strength], tolerance=1e-5))
    ours = time.process_time() - begin
    layer = torch.nn.Linear(x.shape[1], len(linear.bias))
    layer.weight.data, layer.bias.data = map(torch.from_numpy, (linear.weight, linear.bias))
    right = accuracy(layer, parts.x_test, parts.y_test)
    solved = Solved(objective(layer, parts, strength), right)
    yield f"convex, penalty {strength:g} alone", ours, right, 1.0
    for batch, rates in ((BATCH, (1e-4, 3e-4, 1e-3, 3e-3)), (len(x), (1e-3, 3e-3, 1e-2, 3e-2))):
        best = {"objective": np.inf, "accuracy": np.inf}
        for rate, decay in itertools.product(rates, (False, True)):
            most = min(MOST * ours, max(best.values()))  # a slower one is not the best
            found = until_solved(parts, solved, rate, strength, batch, decay, most)
            best = {what: np.fmin(best[what], seconds) for what, seconds in found.items()}
        how = "batches" if batch == BATCH else "full batch"
        for what, seconds in best.items():
            yield f"equal {what}, {how}", seconds, np.nan, seconds / ours


def large(n: int) -> pd.DataFrame:
    """Time the probe on many clips; the peak is that of the whole process, features included."""
    (x, y), (xv, yv), (xt, yt) = (make(m, 0.35, s) for s, m in enumerate((n, n // 10, n // 10)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    begin, wall = time.process_time(), time.monotonic()
    probe = fitted(x, y, xv, yv)
    spent = {"cpu_seconds": time.process_time() - begin, "seconds": time.monotonic() - wall}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    accuracy = right_share(probe, xt, yt)
    return pd.DataFrame([
        {"clips": n, "GiB_before": before, "peak_GiB": peak, **spent, "accuracy": accuracy,
         "penalties": len(probe.scores_), "chosen": probe.setting_},
    ])  # fmt: skip


def report(data: Data, grid: bool) -> None:
    """Print one table, row by row."""
    (x, y), *_ = data
    print(f"{len(x)} clips of {x.shape[1]} dimensions, {y.max() + 1} classes")
    print(f"{'probe':<28}{'cpu_seconds':>12}{'accuracy':>10}{'ratio':>9}")
    for name, seconds, score, ratio in compare(data, grid):
        print(f"{name:<28}{seconds:12.3f}{score:10.3f}{ratio:9.2f}", flush=True)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="100,000 clips too")
    parser.add_argument("--clips", type=int, help="only the probe on so many clips")
    parser.add_argument("--grid", action="store_true", help="rates x penalties with Adam, too")
    parser.add_argument("--real", action="store_true", help="only fsdd_digits in UNFUSED_DATA")
    parser.add_argument("--shape", nargs=4, type=float, metavar=("N", "DIM", "CLASSES", "GAP"))
    given = parser.parse_args()
    if given.clips:
        print(large(given.clips).round(3).to_string(index=False))
        return
    if given.real:
        report(real(2048), given.grid)
        return
    for n, dim, classes, gap in [given.shape] if given.shape else SHAPES:
        sizes = (int(n), max(500, int(n) // 4), max(2000, int(n) // 4))
        made = [make(m, gap, s, int(dim), int(classes)) for s, m in enumerate(sizes)]
        report(made, given.grid)
    if given.large:
        subprocess.run([sys.executable, __file__, "--clips", "100000"], check=True)


if __name__ == "__main__":
    main()
