"""The reporting pipeline."""

from .pipeline import create_comparison, create_data_report, create_pipeline

__all__ = ["create_comparison", "create_data_report", "create_pipeline"]
