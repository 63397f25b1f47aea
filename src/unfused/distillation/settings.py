"""How a student is distilled: names, defaults and rules; importing it imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from ..core.errors import check_fields

Hint = Literal["logits", "features"]


@dataclass(frozen=True, kw_only=True)
class DistillationSettings:
    """Self-distillation of a randomly initialised encoder on pseudo-labels (arXiv 2303.05668).

    Attributes:
        alpha: Weight of the blocks' cross entropies against their divergences.
        beta: Weight of the hints.
        mse_on: What the hints compare: ``logits`` or ``features``.
        detach_teacher: Keep the students' losses from moving the teacher.
        hidden: Hidden width of the blocks' heads; None: the number of clusters.
        blocks: Taps that get a head; None: three blocks for clusters, the third for embeddings.
        crop_frames: Length of a training crop in frames.
        cut: Where the student ends.

    Raises:
        UserError: A value is out of its range.
    """

    alpha: Annotated[float, "in [0, 1]"] = 0.7
    beta: Annotated[float, "0 or positive"] = 0.003
    mse_on: Hint = "logits"
    detach_teacher: bool = True
    hidden: Annotated[int, "at least 1"] | None = None
    blocks: list[str] | None = None
    crop_frames: Annotated[int, "at least 1"] = 96
    cut: str = "block3"

    def __post_init__(self) -> None:
        check_fields(self)
