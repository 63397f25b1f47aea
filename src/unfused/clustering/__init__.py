"""Whitening, k-means and pseudo-labels."""

from .kmeans import KMeans
from .pseudo_labels import PseudoLabels, agreement, pseudo_labels
from .whitening import Whitening

__all__ = ["KMeans", "PseudoLabels", "Whitening", "agreement", "pseudo_labels"]
