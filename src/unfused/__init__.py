"""Low-resource audio representation learning: UnFuSeD, its relatives and the LAPE benchmark."""

__version__ = "0.1.0"
