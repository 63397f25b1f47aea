"""Labelled probes on frozen embeddings, fine-tuning, and the models that come out of them."""
