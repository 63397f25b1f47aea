"""Repeats of a study: one encoder, one set of pseudo-labels, one student per seed and fold."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

RUNS = "runs"
"""Folder below the root that holds a folder for every run with a name."""


class Repeat(NamedTuple):
    """One repetition of the whole study: its seed, and which fold is held out; 0: a fixed split."""

    seed: int
    fold: int

    @property
    def name(self) -> str:
        """Name of the repeat's folder."""
        return f"seed{self.seed}-fold{self.fold}"


def seeds_of(given: Any) -> Any:
    """Return the seeds that a configuration means: a number N stands for 0 to N-1.

    >>> seeds_of(2), seeds_of([3])
    ([0, 1], [3])
    """
    return list(range(given)) if isinstance(given, int) else given


def repeats(seeds: Sequence[int], folds: Iterable[int]) -> list[Repeat]:
    """Return every seed with every fold, in a fixed order.

    >>> [repeat.name for repeat in repeats([0, 1], [2, 1])]
    ['seed0-fold1', 'seed0-fold2', 'seed1-fold1', 'seed1-fold2']
    """
    return [Repeat(seed, fold) for seed in seeds for fold in sorted({int(fold) for fold in folds})]


def repeat_named(name: str) -> Repeat:
    """Return the repeat that a folder name ends with.

    >>> repeat_named("teacher-seed3-fold1")
    Repeat(seed=3, fold=1)
    """
    seed, fold = name.rsplit("seed", 1)[1].split("-fold")
    return Repeat(int(seed), int(fold))


def matching_fold(fold: int, available: Iterable[int]) -> int:
    """Return which of another data set's folds goes with ``fold``.

    Data sets of one study may have different numbers of folds, or one fixed split (fold 0). The
    folds of the shorter one repeat, counted from its first (0 or 1).

    >>> matching_fold(4, [1, 2, 3]), matching_fold(4, [0, 1, 2]), matching_fold(3, [0, 1, 2])
    (1, 1, 0)
    >>> matching_fold(5, [0]), matching_fold(0, [1, 2])
    (0, 1)
    """
    order = sorted({int(item) for item in available})
    if fold in order:
        return fold
    return order[max(fold - order[0], 0) % len(order)]
