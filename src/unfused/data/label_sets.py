"""Clips with several labels: how a set of labels is written down, counted and stratified by."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pandas as pd

from .table import ManifestError

BAR = "|"
"""Between the labels of one clip in our tables, whatever the source has."""


def label_set(text: str, separator: str) -> str:
    """Return a cell with several labels as we write it: each once, sorted, with bars between.

    Raises:
        ManifestError: A label itself contains a bar.

    >>> label_set("speech, music,speech", ",")
    'music|speech'
    """
    labels = {part.strip() for part in text.split(separator)} - {""}
    if separator != BAR and any(BAR in label for label in labels):
        raise ManifestError(f"label {text!r} contains {BAR!r}, which stands between labels here")
    return BAR.join(sorted(labels))


def split_labels(text: str) -> list[str]:
    """Return the labels of a set; none for ""."""
    return text.split(BAR) if text else []


def label_counts(sets: Iterable[str]) -> Counter[str]:
    """Return how many clips have each label."""
    return Counter(label for text in sets for label in split_labels(text))


def multi_hot(sets: Iterable[str], classes: Iterable[str]) -> np.ndarray:
    """Return which of ``classes`` each clip has, (N, C) bool; other labels are left out."""
    place, sets = {name: number for number, name in enumerate(classes)}, list(sets)
    matrix = np.zeros((len(sets), len(place)), bool)
    for row, text in enumerate(sets):
        matrix[row, [place[label] for label in split_labels(text) if label in place]] = True
    return matrix


def rarest_labels(sets: pd.Series) -> pd.Series:
    """Return the rarest label of each clip (the first by name of equally rare ones), None kept.

    Cuts stratified by it spread rare labels evenly; frequent ones are spread by chance.
    """
    counts = label_counts(sets.dropna())
    parts = [split_labels(text) if isinstance(text, str) else [] for text in sets]
    rarest = [min(part, key=lambda label: (counts[label], label), default=None) for part in parts]
    return pd.Series(rarest, index=sets.index, dtype=object)
