"""Linear classifiers on standardised features: logistic regression and shrinkage LDA.

Both are solved exactly where there are fewer clips than dimensions too, in the space that the clips
span, which is as small as their number: 400 clips of 9,216 dimensions take a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from sklearn.linear_model import LogisticRegression
from threadpoolctl import ThreadpoolController

from ..embeddings.read_out import Floats

_NEVER = -30.0  # logit of a class that no training clip has, relative to nothing known
_ROWS = 4096
_GRADIENT, _MOST_ITERATIONS = 3e-4, 5000
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

    A constant feature is only centred. Targets are class numbers, (N,) int64, or multi-hot, (N, C)
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

    def linear(self, weight: NDArray[Any], bias: NDArray[Any]) -> Linear:
        """Return a classifier of features as they come."""
        parts = weight, bias, self.mean, self.scale, self.centres
        return Linear(*(part.astype(np.float32) for part in parts))

    @cached_property
    def centres(self) -> NDArray[np.float64]:
        """Mean of each class that has clips, (K, D); none where clips have several labels."""
        if self.targets.ndim == 2:
            return np.zeros((0, self.x.shape[1]))
        hits = np.eye(self.n_classes)[self.targets]
        hits = hits[:, hits.any(axis=0)]
        return np.asarray(hits.T @ self.x / hits.sum(axis=0)[:, None])

    @cached_property
    def lda(self) -> Linear:
        """See :func:`shrinkage_lda`."""
        return shrinkage_lda(self)

    @cached_property
    def spanned(self) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Features in the space that they span, (N, R), and what makes its axes of them, (R, N).

        With a penalty on the weights the optimum lies there. With N >= D all of D, without axes.
        """
        if len(self.x) >= self.x.shape[1]:
            return self.x, None
        values, vectors = linalg.eigh(self.x @ self.x.T)
        kept = values > _LIKE_ZERO * values[-1]
        lengths, vectors = np.sqrt(values[kept]), vectors[:, kept]
        return np.ascontiguousarray(vectors * lengths), (vectors / lengths).T

    def of_features(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return weights in the space that the features span, (C, R), as theirs, (C, D)."""
        axes = self.spanned[1]
        return weight if axes is None else weight @ axes @ self.x


def logistic_path(
    data: Standardised, strengths: Sequence[float], *, tolerance: float = 1.0
) -> Iterator[Linear]:
    """Yield the logistic regression of each penalty, each started from the one before.

    Minimises mean cross-entropy + strength / 2 * ||W||^2, the bias being free, with L-BFGS; where
    clips have several labels, of every class on its own. Penalties are best given from strong to
    weak. The tolerance says how large the gradient may be at the end, as a multiple of the penalty,
    or of 3e-4 where that is less.
    """
    x, several = data.spanned[0], data.targets.ndim == 2
    problems = list(data.targets.T.astype(np.int64)) if several else [data.targets]
    known = [np.unique(y) for y in problems]
    models = [LogisticRegression(max_iter=_MOST_ITERATIONS, warm_start=True) for _ in problems]
    for strength in strengths:
        rows = []
        for model, y, classes in zip(models, problems, known, strict=True):
            if len(classes) == 1:  # every clip has this label, or none has
                rows.append((np.zeros((1, x.shape[1])), np.full(1, _NEVER * (1 - 2 * classes[0]))))
                continue
            # two classes are one regression of w = w_1 - w_0, whose squared norm is twice theirs
            doubled = 2 if len(classes) == 2 and not several else 1
            tol = tolerance * min(strength, _GRADIENT)
            model.set_params(C=doubled / (len(x) * strength), tol=tol)
            model.fit(x, y)
            rows.append((model.coef_, model.intercept_))
        if several:
            weight, bias = (np.concatenate(parts) for parts in zip(*rows, strict=True))
        else:
            weight, bias = all_classes(*rows[0], known[0], data.n_classes)
        yield data.linear(data.of_features(weight), bias)


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
    if len(weight) == 1:  # two classes, in one regression
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    weights = np.zeros((n_classes, weight.shape[1]))
    biases = np.full(n_classes, bias.min() + _NEVER)
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
