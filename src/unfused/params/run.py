"""What holds for a whole run, what it is about, and the encoder that it trains."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from ..core.errors import UserError
from ..core.repeats import seeds_of
from .model import Folder, Model, Outputs


class Run(Outputs):
    """What holds for a whole run.

    Attributes:
        seeds: One pre-training, one set of pseudo-labels and one student for each; a number N
            stands for the seeds 0 to N-1.
        folder: Of encoders, embeddings and scores; all runs share it.
        fresh: Rebuild everything, reuse nothing.
        device: ``auto`` (cuda, else mps, else cpu) or one of the three.
        processes: How many processes pre-train an encoder together, one per GPU; ``auto``: as many
            as there are GPUs. Everything else takes one.
        expected: How long the whole run takes, in words; printed first.
        tracking: ``mlflow`` logs the run there when it has ended; null: files only.
    """

    seeds: list[int] = Field(min_length=1)
    folder: Folder = Path("data/06_models")
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    processes: Annotated[int, Field(ge=1)] | Literal["auto"] = 1
    expected: str | None = None
    tracking: Literal["mlflow"] | None = None

    @field_validator("seeds", mode="wrap")
    @classmethod
    def _distinct(cls, given: Any, checked: Callable[[Any], list[int]]) -> list[int]:
        seeds = checked(seeds_of(given))
        if len(set(seeds)) < len(seeds):
            raise UserError(f"seeds={seeds} names a seed twice; each is one repetition")
        return seeds


class Select(Model):
    """Which of the configured tasks, pools and methods take part.

    Attributes:
        tasks: Names of tasks; one's own data takes their place; null: all that are there.
        pools: Names of corpora without labels, of which those are taken that name audio.
        methods: Which methods the benchmark compares; null: all that learn from audio alone.
    """

    tasks: list[str] | str | None = None
    pools: list[str] | str | None = None
    methods: list[str] | str | None = None


class EncoderParams(Model):
    """Which encoder architecture, with which settings.

    Attributes:
        name: The registered encoder.
        settings: Its constructor's keyword arguments.
    """

    name: str
    settings: dict[str, Any] = {}

    @model_validator(mode="after")
    def _known(self) -> Self:
        from ..encoders import create

        create(self.name, **self.settings)
        return self


class Pretraining(Model):
    """What encoders are pre-trained on.

    Attributes:
        task_audio: Take the tasks' training audio too, fold by fold; false: the pools alone, as in
            the LAPE benchmark, so that one encoder serves every task and fold.
    """

    task_audio: bool = True


class Report(Model):
    """What the report says about the study itself.

    Attributes:
        configurations_tried: How many settings were compared before this one; null: not stated.
        tsne_points: Clips in the map of pseudo-labels; of more a random sample is drawn.
    """

    configurations_tried: int | None = None
    tsne_points: int = Field(2000, ge=10)
