"""Figures as :class:`matplotlib.figure.Figure` objects; nothing here touches pyplot's state."""

from .augmentation_views import augmentation_views
from .average_ranks import average_ranks
from .captions import CAPTIONS
from .confusion_matrix import confusion_matrix
from .k_mix_centroids import k_mix_centroids
from .kmix_pairs import kmix_pairs
from .label_efficiency import label_efficiency
from .learning_curves import learning_curves
from .log_mels import log_mels
from .pseudo_label_map import TsnePoints, tsne_points, tsne_pseudo_labels
from .score_bars import score_bars

__all__ = [
    "CAPTIONS",
    "TsnePoints",
    "augmentation_views",
    "average_ranks",
    "confusion_matrix",
    "k_mix_centroids",
    "kmix_pairs",
    "label_efficiency",
    "learning_curves",
    "log_mels",
    "score_bars",
    "tsne_points",
    "tsne_pseudo_labels",
]
