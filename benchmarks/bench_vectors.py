"""Vectors: pseudo-labels and the linear probe beside scikit-learn; a matrix of two million rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize

from made_data import vectors
from table import LONG, Row, least, measure, peak
from unfused.distillation.pseudo_labels import STARTS, on_sphere, pseudo_labels
from unfused.probes.probe import STRENGTHS, Probe
from unfused.scores.intervals import interval

K, AXES, ITERATIONS = 50, 256, 20


def inertia(points: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean squared distance of points to the mean of their cluster."""
    means = np.stack([points[labels == k].mean(0) for k in range(K)])
    return float(np.square(points - means[labels]).sum(1).mean())


def clustering() -> Iterator[Row]:
    """Whiten 2,048 dimensions to 256 and cluster into 50: 40,000 rows."""
    x, _ = vectors(40_000)
    labels: dict[str, np.ndarray] = {}

    def ours() -> None:
        labels["ours"] = pseudo_labels(on_sphere(x, AXES), K, iterations=ITERATIONS)

    def by_scikit_learn() -> None:
        points = normalize(PCA(AXES, whiten=True, random_state=0).fit_transform(x))
        kmeans = KMeans(K, n_init=STARTS, max_iter=ITERATIONS, random_state=0)
        labels["plain"] = kmeans.fit_predict(points)

    seconds = least(1, ours, by_scikit_learn, warm_up=False)
    yield Row("pseudo-labels of 40,000 x 2,048 / scikit-learn", *seconds, 1, "s")
    memory = peak(ours), peak(by_scikit_learn)
    yield Row("pseudo-labels, memory beside the vectors / scikit-learn", *memory, 1, "GiB")
    points = on_sphere(x, AXES)
    both = (inertia(points, labels[name]) for name in ("ours", "plain"))
    yield Row("pseudo-labels, inertia / scikit-learn", *both, 1, "a row")


class Made:
    """A (N, 2048) float16 matrix that lies nowhere: slices are made when they are asked for."""

    ndim = 2

    def __init__(self, n: int) -> None:
        self.shape = n, 2048
        self.base = vectors(8192)[0].astype(np.float16)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        first, end, _ = rows.indices(len(self))
        rng = np.random.default_rng(first)
        return self.base[rng.integers(len(self.base), size=end - first)] * rng.choice(
            np.float16([0.5, 0.75, 1.0, 1.25]), (end - first, 1)
        )


def two_million() -> Iterator[Row]:
    """Whiten and cluster 2,000,000 x 2,048 in float16; without --long drawn out from two sizes."""
    sizes = [2_000_000] if LONG else [25_000, 75_000]
    found = []
    for n in sizes:
        made, points, begin = Made(n), [], time.process_time()
        whitening = peak(lambda made=made, points=points: points.append(on_sphere(made, AXES)))
        rise = peak(lambda points=points: pseudo_labels(points[0], K))
        seconds = time.process_time() - begin
        found.append([whitening, points.pop().nbytes / 2**30 + rise, seconds / 60])
    if not LONG:
        (few, many), scale = np.array(found), (2_000_000 - sizes[0]) / (sizes[1] - sizes[0])
        found = [list(few + scale * (many - few))]
    what = "measured" if LONG else f"from {sizes[0]:,} and {sizes[1]:,} rows"
    *memory, minutes = found[0]
    name = "pseudo-labels of 2,000,000 x 2,048"
    yield Row(f"{name}, memory, {what}", max(memory), None, 6, "GiB")
    yield Row(f"{name}, {what}", minutes, None, None, "min")


def probe() -> Iterator[Row]:
    """Choose a penalty on 1,125 clips and fit 4,500 more of 2,048 dimensions in 35 classes.

    scikit-learn goes through the same six penalties; the probe takes LDA as well, calibrates and
    gives a standard error.
    """
    (x, y), (xt, yt) = vectors(5625), vectors(2000, seed=2)
    valid = np.arange(len(x)) >= 4500
    fitted: list[Any] = [None, None]

    def ours() -> None:
        fitted[0] = Probe().fit(x, y, valid=valid)

    def by_scikit_learn() -> None:
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
        grid = {"logisticregression__C": [1 / (4500 * strength) for strength in STRENGTHS]}
        split = PredefinedSplit(np.where(valid, 0, -1))
        fitted[1] = GridSearchCV(model, grid, cv=split).fit(x, y)

    seconds = least(2, ours, by_scikit_learn)
    yield Row("linear probe, 4,500 x 2,048 / scikit-learn", *seconds, 0.4, "s")
    wrong = [
        float((np.asarray(model.predict(xt)).astype(str) != yt.astype(str)).mean())
        for model in fitted
    ]
    yield Row("linear probe, share of errors on test / scikit-learn", *wrong, None, "")


def large_probe() -> Iterator[Row]:
    """With --long: fit on 100,000 x 2,048, with 10,000 validation clips, 35 classes."""
    if not LONG:
        return
    x, y = vectors(110_000)
    valid, begin = np.arange(len(x)) >= 100_000, time.process_time()
    memory = peak(lambda: Probe().fit(x, y, valid=valid)) + x.nbytes / 2**30
    minutes = (time.process_time() - begin) / 60
    yield Row("linear probe, 100,000 x 2,048", minutes, None, 10, "min")
    yield Row("linear probe, 100,000 x 2,048, memory with the vectors", memory, None, 6, "GiB")


def intervals() -> Iterator[Row]:
    """Bootstrap the mAP of 1,000 clips with 20 labels, 200 resamples."""
    rng, names = np.random.default_rng(0), [f"label{c:02d}" for c in range(20)]
    hits = rng.random((1000, 20)) < 0.1
    hits[np.arange(1000), rng.integers(0, 20, 1000)] = True
    scores = hits + rng.normal(size=hits.shape)
    labels = ["|".join(np.array(names)[row]) for row in hits]
    rows = {"clip_id": range(1000), "label": labels, "predicted": "", "classes": "|".join(names)}
    table, errors = pd.DataFrame({**rows, "scores": list(scores)}), [0.0, 0.0]

    def ours() -> None:
        errors[0] = interval(table, "mAP", n=200).standard_error

    def by_scikit_learn() -> None:
        drawn = rng.multinomial(1000, np.full(1000, 1e-3), size=200)
        found = [average_precision_score(hits, scores, sample_weight=often) for often in drawn]
        errors[1] = float(np.std(found))

    seconds = least(2, ours, by_scikit_learn)
    assert abs(errors[0] / errors[1] - 1) < 0.3, errors
    yield Row("interval of mAP, 200 resamples / scikit-learn", *seconds, None, "s")


BENCHMARKS: list[Callable[[], Iterator[Row]]] = [
    clustering, two_million, probe, large_probe, intervals,
]  # fmt: skip

if __name__ == "__main__":
    measure(*BENCHMARKS)
