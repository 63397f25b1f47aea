"""Figures as :class:`matplotlib.figure.Figure` objects; nothing here touches pyplot's state."""

from .clusters import TsnePoints, cluster_map, tsne_points
from .confusion import confusion_matrix, recognised
from .label_efficiency import label_efficiency
from .learning_curves import learning_curves
from .log_mels import log_mels, view_steps

__all__ = [
    "TsnePoints",
    "cluster_map",
    "confusion_matrix",
    "label_efficiency",
    "learning_curves",
    "log_mels",
    "recognised",
    "tsne_points",
    "view_steps",
]
