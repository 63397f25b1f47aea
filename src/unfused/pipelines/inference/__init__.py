"""The pipelines that use a trained model: classify and export."""

from .pipeline import create_classify, create_export

__all__ = ["create_classify", "create_export"]
