"""How networks are trained on labels: names, defaults and rules; nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from ..core.errors import check_fields
from ..training.settings import TrainingSettings

LIGHT_VIEWS: Mapping[str, Any] = {
    "mixup_ratio": 0.0,
    "freq_scale": (1.0, 1.0),
    "time_scale": (1.0, 1.0),
}
"""Normalise and crop only."""


@dataclass(frozen=True, kw_only=True)
class FineTuningSettings:
    """How to train on labels.

    Attributes:
        training: Length, optimiser and precision.
        views: Arguments of :class:`~unfused.views.make_views.ViewMaker`; the default only
            normalises the crops.
        crop_frames: Length of a training crop in frames.
        dropout: Dropout on the embedding.
        label_smoothing: Share of the target spread over all classes.
        mixup_alpha: Mix crops and their labels by shares from Beta(alpha, alpha); 0: no mixup. The
            views' mixup adds a faint past crop and leaves the label alone.
        head: Start the classifier from calibrated logistic regression on the frozen encoder, or
            at random. An encoder whose batch norm has seen no data always starts at random: in
            training mode its features are on another scale than those the probe was fitted on.
        validate_every: Epochs from one validation to the next.
        patience: Validations in a row that may be no better than the best before training stops;
            None: any number. A perfect score always stops it: a later epoch cannot be better.

    Raises:
        UserError: A value is out of its range.
    """

    training: TrainingSettings
    views: Mapping[str, Any] = field(default_factory=lambda: dict(LIGHT_VIEWS))
    crop_frames: Annotated[int, "at least 1"] = 96
    dropout: Annotated[float, "in [0, 1)"] = 0.0
    label_smoothing: Annotated[float, "in [0, 1)"] = 0.0
    mixup_alpha: Annotated[float, "0 or positive"] = 0.0
    head: Literal["linear_probe", "random"] = "linear_probe"
    validate_every: Annotated[int, "at least 1"] = 1
    patience: Annotated[int, "at least 1"] | None = None

    def __post_init__(self) -> None:
        check_fields(self)
