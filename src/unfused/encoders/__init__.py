"""Encoders by name, and saving and loading what was trained."""

from .audio_ntt import AudioNTT
from .conformer import Conformer
from .encoder import Encoder, span_mask
from .projector import Projector
from .registry import available, create
from .trained import TrainedEncoder, load_encoder, provenance, read_trained_on, save_encoder

__all__ = [
    "AudioNTT", "Conformer", "Encoder", "Projector", "TrainedEncoder", "available", "create",
    "load_encoder", "provenance", "read_trained_on", "save_encoder", "span_mask",
]  # fmt: skip
