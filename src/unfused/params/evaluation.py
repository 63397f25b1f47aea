"""How encoders are compared."""

from dataclasses import replace
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from ..probes.settings import FineTuningSettings
from ..reporting.names import is_control
from .methods import Views
from .model import Model, Training, like


class FineTuning(like(FineTuningSettings, "training", "views")):  # type: ignore[misc]
    """End-to-end training on the true labels, from an encoder or from scratch.

    Attributes:
        encoders: Which encoders are fine-tuned.
        views: Augmentations of the training crops.
        head: What the classifier of a fine-tuned encoder starts from; from scratch it is random.
        fine_tuning: Length, optimiser and precision from a trained encoder.
        from_scratch: The same from a random one.
    """

    crop_frames: int = Field(96, ge=16)  # narrower than the library's
    encoders: list[str]
    views: Views
    fine_tuning: Training
    from_scratch: Training

    def settings(self) -> tuple[FineTuningSettings, FineTuningSettings]:
        """Return the library's settings of fine-tuning and of training from scratch."""
        none = {"encoders", "fine_tuning", "from_scratch"}
        tuned = FineTuningSettings(training=self.fine_tuning, **self.model_dump(exclude=none))
        return tuned, replace(tuned, training=self.from_scratch, head="random")

    @model_validator(mode="after")
    def _in_range(self) -> Self:
        self.settings()  # refuses what is out of range
        return self


class LabelEfficiency(Model):
    """How encoders do with few labels.

    Attributes:
        budgets: Labels per class (5) or shares of all labels ("10%"); none: nothing is measured.
        draws: How many choices of labelled clips for each budget.
        protocols: Probes of frozen encoders.
        encoders: Which encoders are probed; null: all, controls aside.
        fine_tuning: Which encoders are trained end to end too; with any, scratch is as well.
    """

    budgets: list[int | str] = []
    draws: int = Field(default=3, ge=1)
    protocols: list[Literal["linear_probe", "knn"]] = ["linear_probe"]
    encoders: list[str] | None = None
    fine_tuning: list[str] = []

    @model_validator(mode="after")
    def _known(self) -> Self:
        from ..probes.label_efficiency import labels_given

        for budget in self.budgets:
            labels_given(budget, 1)
        return self

    def takes(self, encoder: str, source: str) -> bool:
        """Return whether an encoder, and what its pseudo-labels came from, is probed."""
        asked = self.encoders is None or encoder in self.encoders
        return asked and not is_control(source)


class Evaluation(Model):
    """How encoders are compared.

    Attributes:
        read_outs: How encoders are read out, each as the fields of
            :class:`~unfused.embeddings.read_out.ReadOut`; validation clips choose among them.
        joined: Labels of encoders that are also probed side by side, with the same read-out; plain
            statistics can be among them, and ``teacher``, whoever that is.
        teachers: Which encoders from outside are compared; the one that teaches always is.
        protocols: Probes of frozen encoders.
        transductive: Train without labels on held-out audio too; marks the rows.
        bootstrap: Resamples of an interval.
        label_efficiency: How encoders do with few labels.
        supervised: Training end to end.
    """

    read_outs: list[dict[str, Any]] = Field(min_length=1)
    joined: list[list[str]] = []
    teachers: list[str] | str = []
    protocols: list[Literal["linear_probe", "knn"]] = Field(["linear_probe"], min_length=1)
    transductive: bool = False
    bootstrap: int = Field(2000, ge=100)
    label_efficiency: LabelEfficiency = Field(default_factory=LabelEfficiency)
    supervised: FineTuning
