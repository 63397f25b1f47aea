"""Trained models: which one, on what, and for whom."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ..core.errors import UserError
from .audio import Audio
from .model import Model


class TrainedModel(Model):
    """Which trained model a run keeps for new audio, and for others.

    Attributes:
        task: Whose labels it predicts; null: the run's first.
        encoder: ``unfused`` (the student), ``unfused_full`` or a method; of networks that were
            trained end to end, those that a run trained, e.g. ``supervised``.
        source: Where the pseudo-labels of ``unfused`` and ``unfused_full`` came from.
        protocol: A linear probe on the frozen encoder, or a network that was trained end to end.
        cut: Tap of the encoder that the probe takes; null: its own.
        seed: Seed of the repeat; null: the first.
        fold: Fold of the repeat; null: the first.
    """

    task: str | None = None
    encoder: str = "unfused"
    source: str = "teacher"
    protocol: Literal["linear_probe", "fine_tuning"] = "linear_probe"
    cut: str | None = None
    seed: int | None = None
    fold: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _possible(self) -> TrainedModel:
        if self.cut is not None and self.protocol == "fine_tuning":
            raise UserError(
                f"cut={self.cut!r} goes with protocol=linear_probe: a network that was trained end "
                "to end ends where it did; leave it null"
            )
        return self


class Classify(Audio):
    """New audio, and how it is classified.

    Attributes:
        audio: A file, a folder, several of them, or a table with a column path.
        labels: None of new audio are read.
        segment_seconds: Length of the pieces that long files are cut into; null: as the longest
            training clip, at most 12 s.
        hop_seconds: From one piece's start to the next; null: a whole piece.
        top_k: How many of the most likely classes are listed.
    """

    labels: Literal["none"] = "none"
    segment_seconds: float | None = Field(None, gt=0)
    hop_seconds: float | None = Field(None, gt=0)
    top_k: int = Field(5, ge=1)


class Export(Model):
    """What an exported model consists of.

    Attributes:
        onnx: Write the encoder as ONNX too, where the extra ``onnx`` is installed.
    """

    onnx: bool = True
