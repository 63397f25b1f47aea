"""Linear classifiers on standardised features: logistic regression and shrinkage LDA.

Where there are fewer clips than dimensions, both are found in the space that the clips span, which
is as small as their number, and lose nothing by it: 400 clips of 9,216 dimensions take a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize, special
from threadpoolctl import ThreadpoolController

from ..embeddings.read_out import Floats

_NEVER = -30.0  # logit of a class that no training clip has, relative to nothing known
_ROWS = 4096
_GRADIENT, _MOST_ITERATIONS = 1e-3, 5000
_LEFT = 0.3  # of the curvature at equal logits where clips are told apart: for speed alone
_FOR_THREADS = 10_000_000  # values of a training set from which several threads are faster
_LIKE_ZERO = 1e-10  # eigenvalues below this share of the largest, and spreads, are rounding


class Linear(NamedTuple):
    """A linear classifier with its scaler, all float32.

    Weight (C, D) and bias (C,) are those of features less their mean (D,), divided by their scale
    (D,). Centres (K, D), on that scale, are the means of the classes that have training clips; none
    where clips have several labels.
    """

    weight: Floats
    bias: Floats
    mean: Floats
    scale: Floats
    centres: Floats

    def logits(self, features: Floats) -> Floats:
        """Return the logits of features as they come, (N, D) -> (N, C)."""
        found = np.empty((len(features), len(self.bias)), np.float32)
        for rows, scaled in self._scaled(features):
            found[rows] = scaled @ self.weight.T + self.bias
        return found

    def distances(self, features: Floats) -> Floats:
        """Return the logarithm of the mean square distance to the nearest centre, (N,), or -inf."""
        found = np.full(len(features), -np.inf, np.float32)
        if not len(self.centres):
            return found
        lengths = np.square(self.centres).sum(axis=1)
        for rows, scaled in self._scaled(features):
            nearest = (lengths - 2 * scaled @ self.centres.T).min(axis=1)
            squares = (np.square(scaled).sum(axis=1) + nearest) / len(self.mean)
            found[rows] = np.log(np.maximum(squares, 1e-6))
        return found

    def _scaled(self, features: Floats) -> Iterator[tuple[slice, Floats]]:
        for first in range(0, len(features), _ROWS):  # standardised copies stay small
            rows = slice(first, first + _ROWS)
            yield rows, (features[rows] - self.mean) / self.scale


class Standardised:
    """Training features, (N, D), on their own scale, and the targets.

    A constant feature is 0. Targets are class numbers, (N,) int64, or multi-hot, (N, C)
    float32; some of the C classes may have no training clip.
    """

    def __init__(self, features: Floats, targets: NDArray[Any], n_classes: int) -> None:
        self.targets, self.n_classes = targets, n_classes
        self.x = features.astype(np.float64)
        self.mean = self.x.mean(axis=0)
        self.x -= self.mean
        spread = np.sqrt(np.einsum("nd,nd->d", self.x, self.x) / len(self.x))
        constant = spread <= 1e-6 * np.abs(self.mean)  # but for rounding
        self.scale = np.where(constant | (spread == 0), 1.0, spread)
        self.x /= self.scale
        self.x[:, constant] = 0.0

    def linear(self, weight: NDArray[Any], bias: NDArray[Any]) -> Linear:
        """Return a classifier of features as they come."""
        parts = weight, bias, self.mean, self.scale, self.centres
        return Linear(*(part.astype(np.float32) for part in parts))

    @cached_property
    def hits(self) -> NDArray[np.floating]:
        """1 where a clip has a label, else 0, (N, C)."""
        return self.targets if self.targets.ndim == 2 else np.eye(self.n_classes)[self.targets]

    @cached_property
    def centres(self) -> NDArray[np.float64]:
        """Mean of each class that has clips, (K, D); none where clips have several labels."""
        if self.targets.ndim == 2:
            return np.zeros((0, self.x.shape[1]))
        hits = self.hits[:, self.hits.any(axis=0)]
        return np.asarray(hits.T @ self.x / hits.sum(axis=0)[:, None])

    @cached_property
    def lda(self) -> Linear:
        """See :func:`shrinkage_lda`."""
        return shrinkage_lda(self)

    @cached_property
    def principal(self) -> tuple[Floats, NDArray[np.floating], NDArray[np.floating]]:
        """Features on the axes along which they vary, (N, R), variances (R,), what makes the axes.

        With a penalty on the weights the optimum lies there. The axes are (D, R) or, where there
        are fewer clips than dimensions, sums of so much of each clip, (N, R).
        """
        n, dim = self.x.shape
        if n >= dim:  # any rotation will do
            x = _single(self.x)
            values, vectors = linalg.eigh(x.T @ x, driver="evd")
            for first in range(0, n, _ROWS):  # in its place, to save memory
                rows = slice(first, first + _ROWS)
                x[rows] = x[rows] @ vectors
            return x, np.maximum(values, 0.0) / n, vectors
        values, vectors = linalg.eigh(self.x @ self.x.T)
        kept = values > _LIKE_ZERO * values[-1]
        lengths, vectors = np.sqrt(values[kept]), vectors[:, kept]
        return _single(vectors * lengths), values[kept] / n, vectors / lengths

    def of_features(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return weights of principal axes, (C, R), as those of features, (C, D)."""
        found = weight @ self.principal[2].T
        return found if len(self.x) >= self.x.shape[1] else found @ self.x


def logistic_path(
    data: Standardised, strengths: Sequence[float], *, tolerance: float = 1.0
) -> Iterator[Linear]:
    """Yield the logistic regression of each penalty, each started from the one before.

    Minimises mean cross-entropy + strength / 2 * ||W||^2, the bias being free, with L-BFGS; where
    clips have several labels, of every class on its own, all at once. Penalties are best given from
    strong to weak. A smaller tolerance comes nearer to the minimum, as far as float32 can tell.

    L-BFGS sees weights in units of the curvature to be expected, a share of a feature's variance
    times the target's, plus the penalty: so it takes a fraction of the steps.
    """
    (x, variances, _), several = data.principal, data.targets.ndim == 2
    share = data.hits.mean(axis=0)
    known = np.flatnonzero((share > 0) & (share < 1))
    hits, spread = _single(data.hits[:, known]), (share * (1 - share))[known, None]
    curvature = _LEFT * np.append(variances, 1.0) * spread
    shape, penalised = curvature.shape, np.append(np.ones(len(variances)), 0.0)
    found = np.zeros(shape)

    def loss(
        flat: NDArray[np.float64], unit: NDArray[np.float64], penalty: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64]]:
        weight = flat.reshape(shape) * unit
        logits = x @ _single(weight[:, :-1]).T + _single(weight[:, -1])
        costs, likely = (_sigmoid if several else _softmax)(logits, hits)
        wrong = likely - hits
        gradient = np.column_stack([wrong.T @ x, wrong.sum(axis=0)]) / len(x) + penalty * weight
        penalties = (penalty * np.square(weight)).sum() / 2
        return costs / len(x) + penalties, (gradient * unit).ravel()

    for strength in strengths:
        penalty = strength * penalised
        unit = 1 / np.sqrt(curvature + penalty)
        fine = tolerance * _GRADIENT * strength**0.4
        options = {"gtol": fine, "ftol": 0.0, "maxiter": _MOST_ITERATIONS}
        if known.size:  # some label is neither in every clip nor in none
            end = optimize.minimize(
                loss, (found / unit).ravel(), (unit, penalty), jac=True, method="L-BFGS-B",
                options=options,
            )  # fmt: skip
            found = end.x.reshape(shape) * unit
            found[:, -1] -= 0.0 if several else found[:, -1].mean()  # a softmax leaves it open
        weight, bias = data.of_features(found[:, :-1]), found[:, -1]
        weight, bias = all_classes(weight, bias, known, data.n_classes)
        bias[share == 1] = -_NEVER  # every clip has this label
        yield data.linear(weight, bias)


def _single(values: NDArray[Any]) -> Floats:
    return np.ascontiguousarray(values, dtype=np.float32)


def _softmax(logits: Floats, hits: Floats) -> tuple[float, Floats]:
    """Return the sum of the cross-entropies, and probabilities."""
    log_likely = special.log_softmax(logits, axis=1)
    return -(log_likely * hits).sum(dtype=np.float64), np.exp(log_likely)


def _sigmoid(logits: Floats, hits: Floats) -> tuple[float, Floats]:
    """Return the same of targets that do not exclude each other."""
    costs = np.logaddexp(0, logits) - hits * logits
    return costs.sum(dtype=np.float64), special.expit(logits)


def shrinkage_lda(data: Standardised) -> Linear:
    """Return linear discriminant analysis with Ledoit and Wolf's shrinkage of each covariance.

    scikit-learn's ``LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")`` (tested): every
    class's covariance, on the scale of its own features, is shrunk towards the identity, and their
    mean by the classes' shares is inverted. scikit-learn inverts a (D, D) matrix with an SVD; here
    it is a Cholesky factor, of (N, N) where there are fewer clips than dimensions (Woodbury).
    """
    (n, dim), y = data.x.shape, data.targets
    classes, counts = np.unique(y, return_counts=True)
    means, noise = np.empty((len(classes), dim)), np.zeros(dim)
    within, first = np.empty((n, dim)), 0
    for k, (code, count) in enumerate(zip(classes, counts, strict=True)):
        of_class, first = within[first : first + count], first + count
        np.take(data.x, np.flatnonzero(y == code), axis=0, out=of_class)
        means[k] = of_class.mean(axis=0)
        of_class -= means[k]
        variance = np.einsum("nd,nd->d", of_class, of_class) / count
        variance[variance < _LIKE_ZERO**2] = 1.0  # constant in this class
        share, level = _ledoit_wolf(of_class / np.sqrt(variance))
        of_class *= ((1 - share) / n) ** 0.5
        noise += count / n * share * level * variance
    noise += 1e-9  # features that are constant within every class
    if n < dim:
        spread = np.sqrt(noise)
        within /= spread
        scaled = means / spread
        inner = within @ within.T
        inner.flat[:: n + 1] += 1
        weight = scaled - linalg.solve(inner, within @ scaled.T, assume_a="pos").T @ within
        weight /= spread
    else:
        weight = linalg.solve(within.T @ within + np.diag(noise), means.T, assume_a="pos").T
    bias = np.log(counts / n) - np.einsum("kd,kd->k", weight, means) / 2
    return data.linear(*all_classes(weight, bias, classes, data.n_classes))


def threads_for(features: NDArray[np.floating]) -> Any:
    """Let one thread of linear algebra do small work: to divide it takes longer than to do it."""
    return _threads().limit(limits=1 if features.size < _FOR_THREADS else None)


_threads = cache(ThreadpoolController)  # to find the libraries costs as much as a fit


def all_classes(
    weight: NDArray[np.float64], bias: NDArray[np.float64], known: NDArray[np.int64], n_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights and biases of all classes; those without a training clip are never likely."""
    weights = np.zeros((n_classes, weight.shape[1]))
    biases = np.full(n_classes, bias.min(initial=0.0) + _NEVER)
    weights[known], biases[known] = weight, bias
    return weights, biases


def _ledoit_wolf(x: NDArray[np.float64]) -> tuple[float, float]:
    """Return how far the covariance of centred rows is to be shrunk, and its mean eigenvalue.

    Ledoit and Wolf 2004 ("A well-conditioned estimator for large-dimensional covariance matrices").
    """
    n, dim = x.shape
    lengths = np.einsum("nd,nd->n", x, x)
    level = lengths.sum() / n / dim
    products = x @ x.T if n < dim else x.T @ x
    squares = np.einsum("ij,ij->", products, products) / n**2
    spread = (squares - dim * level**2) / dim
    error = (np.square(lengths).sum() / n - squares) / (dim * n)
    return (min(error, spread) / spread if spread > 0 and error > 0 else 0.0), level
