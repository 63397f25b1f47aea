"""The pipelines around a trained model: keep it, use it on new audio, pass it on."""

from .pipeline import create_classify, create_export, create_label_next, create_model

__all__ = ["create_classify", "create_export", "create_label_next", "create_model"]
