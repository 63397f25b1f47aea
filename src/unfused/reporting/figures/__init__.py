"""Figures as :class:`matplotlib.figure.Figure` objects; nothing here touches pyplot's state."""

from .clusters import cluster_map, tsne_points
from .confusion import confusion_matrix, recognised
from .curves import label_efficiency, learning_curves
from .log_mels import log_mels, view_steps

__all__ = ["cluster_map", "confusion_matrix", "label_efficiency", "learning_curves", "log_mels",
           "recognised", "tsne_points", "view_steps"]  # fmt: skip
