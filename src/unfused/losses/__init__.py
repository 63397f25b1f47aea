"""Losses as pure tensor functions."""

from .collapse import effective_rank, embedding_health, perplexity
from .decar import prototype_cross_entropy, prototype_logits
from .self_distillation import self_distillation_loss

__all__ = [
    "effective_rank",
    "embedding_health",
    "perplexity",
    "prototype_cross_entropy",
    "prototype_logits",
    "self_distillation_loss",
]
