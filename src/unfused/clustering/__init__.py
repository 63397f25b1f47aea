"""Whitening, k-means and pseudo-labels."""

from .kmeans import KMeans

__all__ = ["KMeans"]
