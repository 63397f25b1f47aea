"""What a run is about, the encoder that it trains, and what is done with a trained model."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from ..core.errors import UserError
from ..core.repeats import seeds_of
from .audio import Audio
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
            the LAPE benchmark, so that one encoder serves every task and fold. null: true, but
            where there are several folds and ten times as many clips without a label, these alone.
    """

    task_audio: bool | None = None


class Report(Model):
    """What the report says about the study itself.

    Attributes:
        configurations_tried: How many settings were compared before this one; null: not stated.
        tsne_points: Clips in the map of pseudo-labels; of more a random sample is drawn.
    """

    configurations_tried: int | None = None
    tsne_points: int = Field(2000, ge=10)


class TrainedModel(Model):
    """Which trained model a run keeps for new audio, and for others.

    Attributes:
        task: Whose labels it predicts; null: the run's first.
        encoder: ``best`` on validation clips among all that the run has, or a label of the results:
            ``unfused`` (the student), a method, ``mfcc_statistics``, ``supervised`` ...
        source: Where the pseudo-labels of a student came from; null: any but controls.
        read_out: How its encoder is read out, as results name it; null: the best on validation.
        protocol: A linear probe on the frozen encoder, or a network that was trained end to end;
            null: the better on validation.
        seed: Seed of the repeat; null: the best on validation.
        fold: Fold of the repeat; null: the best on validation.
    """

    task: str | None = None
    encoder: str = "best"
    source: str | None = None
    read_out: str | None = None
    protocol: Literal["linear_probe", "fine_tuning"] | None = None
    seed: int | None = None
    fold: int | None = Field(None, ge=0)

    def asked(self) -> dict[str, Any]:
        """Return columns of the results and what they must be; None: anything."""
        names = ("source", "read_out", "protocol", "seed", "fold")
        encoder = None if self.encoder == "best" else self.encoder
        return {"encoder": encoder, **{name: getattr(self, name) for name in names}}


class Classify(Audio):
    """New audio, and how it is classified.

    Attributes:
        audio: A file, a folder, several of them, or a table with a column path.
        labels: None of new audio are read.
        segment_seconds: Length of the pieces that long files are cut into; null: as the longest
            training clip, at most 12 s.
        hop_seconds: From one piece's start to the next; null: a whole piece.
        top_k: How many of the most likely classes are listed.
        label_tracks: Write a label track for each recording too, of Audacity's or Raven's format.
    """

    labels: Literal["none"] = "none"
    window_seconds: None = None
    segment_seconds: float | None = Field(None, gt=0)
    hop_seconds: float | None = Field(None, gt=0)
    top_k: int = Field(5, ge=1)
    label_tracks: Literal["audacity", "raven"] | None = None


class LabelNext(Model):
    """Which clips of the audio that was classified last are shown, to be labelled.

    Attributes:
        n_clips: How many.
        per_clip: Among so many doubtful ones for each that is shown, different ones are looked for.
        like: A recording; those most like it are shown in place of the most doubtful ones.
        labels: A table of labels given before; its clips are not shown again.
        seed: Of their choice.
    """

    n_clips: int = Field(50, ge=1)
    per_clip: int = Field(10, ge=1)
    like: str | None = None
    labels: str | None = None
    seed: int = 0


class Export(Model):
    """What an exported model consists of.

    Attributes:
        onnx: Write the encoder as ONNX too, where the extra ``onnx`` is installed.
    """

    onnx: bool = True
