"""Trained models at work: classify new audio, the HEAR and X-ARES interfaces, ONNX."""

from ..embeddings.embedder import load_embedder as load_encoder
from .classifier import Classified, Classifier, Prediction, load_classifier

__all__ = ["Classified", "Classifier", "Prediction", "load_classifier", "load_encoder"]
