"""Losses as pure tensor functions."""

from .barlow_twins import barlow_twins
from .bilinear_contrast import bilinear_contrast
from .byol import byol_loss
from .cluster_contrast import cluster_contrast
from .decar import prototype_cross_entropy
from .info_nce import info_nce
from .masked_contrast import masked_contrast
from .selfie import decorrelation, diversity

__all__ = [
    "barlow_twins", "bilinear_contrast", "byol_loss", "cluster_contrast", "decorrelation",
    "diversity", "info_nce", "masked_contrast", "prototype_cross_entropy",
]  # fmt: skip
