"""What is trained without labels: a self-supervised method, and UnFuSeD."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ..distillation.settings import DistillationSettings
from .model import Model, Training, like
from .run import EncoderParams
from .views import MethodViews, Views

Control = Literal[
    "random_encoder", "shuffled", "true_labels", "mfcc_statistics", "log_mel_statistics"
]


LEARNS_VECTORS = "embedding_distillation"
"""The method (ours) that learns the vectors of an encoder from outside, ``settings.teacher``."""


class MethodParams(Model):
    """A self-supervised method: its hyper-parameters, its views and its training.

    Attributes:
        name: The registered method, or ``embedding_distillation``.
        settings: Its hyper-parameters; of the latter those of
            :class:`~unfused.distillation.unfused.UnFuSeD`, ``teacher`` one of ``teachers``.
        encoder: Architecture that it trains; null: the run's.
        views: Augmentations of the training crops.
        training: Length, optimiser and precision.
    """

    name: str
    settings: dict[str, Any] = {}
    encoder: EncoderParams | None = None
    views: MethodViews = Field(default_factory=MethodViews)
    training: Training

    @model_validator(mode="after")
    def _known(self) -> MethodParams:
        from ..distillation.unfused import UnFuSeD
        from ..methods import check_settings

        if self.name == LEARNS_VECTORS:
            UnFuSeD(**self.settings)
        else:
            check_settings(self.name, self.settings)
        return self


class PseudoLabels(Model):
    """How a task's audio is clustered into pseudo-labels.

    Attributes:
        n_clusters: Number of pseudo-classes K; null: the number of classes; several: a clustering,
            and heads of the student, for each.
        whiten: Axes that whitening keeps, at most a quarter of the clips; ``auto``: few for few
            clips; null: no whitening.
        read_out: Fields of :class:`~unfused.embeddings.read_out.ReadOut`: how the teacher is read
            out; null: mean, maximum and deviation of its last layer.
        controls: Further students, on other pseudo-labels: ``random_encoder``, ``shuffled``,
            ``true_labels``, or plain statistics such as ``mfcc_statistics``.
    """

    n_clusters: Annotated[int, Field(ge=2)] | list[Annotated[int, Field(ge=2)]] | None = None
    whiten: Annotated[int, Field(ge=2)] | Literal["auto"] | None = "auto"
    read_out: dict[str, Any] | None = None
    controls: list[Control] = []


class Distillation(like(DistillationSettings)):  # type: ignore[misc]
    """Self-distillation of a randomly initialised encoder on pseudo-labels.

    Attributes:
        embeddings: Train one more student, which predicts the teacher's embeddings (ours).
        views: Augmentations of the training crops.
        training: Length, optimiser and precision.
    """

    crop_frames: int = Field(96, ge=16)  # narrower than the library's
    embeddings: bool = False
    views: Views = Field(default_factory=Views)
    training: Training


class Unfused(Model):
    """UnFuSeD proper: pseudo-labels and self-distillation."""

    pseudo_labels: PseudoLabels
    distillation: Distillation
