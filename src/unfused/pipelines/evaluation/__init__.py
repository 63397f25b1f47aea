"""The evaluation pipeline."""

from .pipeline import create_pipeline, create_record

__all__ = ["create_pipeline", "create_record"]
