"""What is trained without labels, on which views: a self-supervised method, and UnFuSeD."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ..core.errors import UserError
from ..distillation.settings import DistillationSettings
from ..views.settings import MethodViewSettings, ViewSettings
from .model import Model, Training, check_keys, like
from .run import EncoderParams

Control = Literal[
    "random_encoder", "shuffled", "true_labels", "mfcc_statistics", "log_mel_statistics"
]
LEARNS_VECTORS = "embedding_distillation"
"""The method (ours) that learns the vectors of an encoder from outside, ``settings.teacher``."""


class Views(like(ViewSettings)):  # type: ignore[misc]
    """Augmentations of the training crops."""


class MethodViews(like(MethodViewSettings), Views):  # type: ignore[misc]
    """Augmentations of a self-supervised method."""


class KMixViews(MethodViews):
    """Views with k-mix."""

    mixing: Literal["k_mix"] = "k_mix"


class KMixParams(Model):
    """Centroids for the methods with ``views.mixing: k_mix``, and examples of what it does.

    Attributes:
        n_centroids: Clusters of the pre-training clips; at most a tenth of the clips are taken.
        max_clips: Of more clips a random sample of this size is clustered.
        seed: Seed of sample, k-means and examples.
        views: Augmentations of the examples; training has those of its method.
        n_examples: Clips shown.
    """

    n_centroids: int = Field(128, ge=1)
    max_clips: int = Field(20000, ge=1)
    seed: int = 0
    views: KMixViews = Field(default_factory=KMixViews)
    n_examples: int = Field(4, ge=1)


class Lesson(Model):
    """What an encoder learns from one from outside, by predicting its vectors.

    Attributes:
        teacher: One of ``teachers``.
        whiten: Axes that whitening of its vectors keeps, as of :class:`PseudoLabels`.
        blocks: Taps that get a head; the last one always has one.
        crop_frames: Length of a training crop in frames.
    """

    teacher: str
    whiten: Annotated[int, Field(ge=2)] | Literal["auto"] | None = "auto"
    blocks: list[str] = ["block3"]
    crop_frames: int = Field(96, ge=16)


class MethodParams(Model):
    """A self-supervised method: its hyper-parameters, its views and its training.

    Attributes:
        name: The registered method, or ``embedding_distillation``.
        settings: Its hyper-parameters; of the latter :class:`Lesson`.
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
    def _known(self) -> Self:
        from ..methods import check_settings

        if self.name != LEARNS_VECTORS:
            check_settings(self.name, self.settings)
            return self
        check_keys(self.settings, Lesson, "settings")
        Lesson(**self.settings)
        if self.views.mixing == "k_mix":
            raise UserError("views.mixing='k_mix' needs centroids, which are not fitted here")
        return self


class PseudoLabels(Model):
    """How a task's audio is clustered into pseudo-labels.

    Attributes:
        n_clusters: Number of pseudo-classes K; null: the number of classes; several: a clustering,
            and heads of the student, for each.
        whiten: Axes that whitening keeps, at most a quarter of the clips; ``auto``: few for few
            clips; null: no whitening.
        read_out: Fields of :class:`~unfused.embeddings.read_out.ReadOut`: how the teacher is read
            out; null: mean, maximum and deviation, at the layer that its architecture names.
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
