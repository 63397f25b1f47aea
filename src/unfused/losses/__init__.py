"""Losses as pure tensor functions."""

from .barlow_twins import (
    CrossCorrelation,
    barlow_twins,
    correlation_health,
    cross_correlation,
    redundancy_reduction,
)
from .bilinear_contrast import bilinear_contrast, bilinear_similarity
from .byol import byol_loss
from .cluster_contrast import cluster_contrast
from .collapse import effective_rank, embedding_health, perplexity
from .decar import prototype_cross_entropy
from .decorrelation import Decorrelation, decorrelation
from .diversity import Diversity, diversity
from .info_nce import contrast, info_nce, info_nce_logits, instance_accuracy
from .masked_contrast import masked_contrast

__all__ = [
    "CrossCorrelation",
    "Decorrelation",
    "Diversity",
    "barlow_twins",
    "bilinear_contrast",
    "bilinear_similarity",
    "byol_loss",
    "cluster_contrast",
    "contrast",
    "correlation_health",
    "cross_correlation",
    "decorrelation",
    "diversity",
    "effective_rank",
    "embedding_health",
    "info_nce",
    "info_nce_logits",
    "instance_accuracy",
    "masked_contrast",
    "perplexity",
    "prototype_cross_entropy",
    "redundancy_reduction",
]
