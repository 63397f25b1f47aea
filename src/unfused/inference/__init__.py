"""Trained models at work: embed and classify new audio, the HEAR interface, ONNX, model cards."""

from .audio_encoder import AudioEncoder, Embedding, load_encoder
from .classifier import Classifier, Prediction, load_classifier

__all__ = [
    "AudioEncoder",
    "Classifier",
    "Embedding",
    "Prediction",
    "load_classifier",
    "load_encoder",
]
