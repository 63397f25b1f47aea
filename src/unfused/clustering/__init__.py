"""K-means on the device; k-mix, DECAR's prototypes and pseudo-labels use it."""

from .kmeans import KMeans

__all__ = ["KMeans"]
