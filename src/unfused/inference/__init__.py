"""Trained models at work: classify new audio, the HEAR and X-ARES interfaces, ONNX, model cards."""

from ..embeddings.embedder import load_embedder as load_encoder

__all__ = ["load_encoder"]
