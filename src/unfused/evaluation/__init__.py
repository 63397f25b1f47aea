"""Evaluation: embeddings, linear probe, fine-tuning, metrics and their intervals."""
