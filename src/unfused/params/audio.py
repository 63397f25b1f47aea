"""Audio: where it is, how it becomes log-mels, and the tasks that have labels for it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from ..core.errors import UserError
from .model import Model


class FrontEndParams(Model):
    """Log-mel front-end; see :class:`unfused.data.log_mel.FrontEnd`.

    Attributes:
        sample_rate: Samples per second; audio of another rate is resampled.
        n_fft: Length of window and transform in samples.
        hop: Samples from one frame to the next.
        n_mels: Number of mel bands; ``encoder.settings.n_mels`` has to be the same.
        f_min: Lower edge of the lowest band in Hz.
        f_max: Upper edge of the highest band in Hz.
        mel_scale: Slaney's scale (librosa's) or HTK's.
        norm: ``slaney`` (filters of area 1) or ``none`` (of height 1).
    """

    sample_rate: int = Field(16000, ge=8000)
    n_fft: int = Field(1024, ge=64)
    hop: int = Field(160, ge=1)
    n_mels: int = Field(64, ge=8)
    f_min: float = Field(60.0, ge=0)
    f_max: float = Field(7800.0, gt=0)
    mel_scale: Literal["slaney", "htk"] = "slaney"
    norm: Literal["slaney", "none"] = "slaney"

    @model_validator(mode="after")
    def _consistent(self) -> FrontEndParams:
        from ..data.log_mel import FrontEnd

        FrontEnd(**self.model_dump())
        return self


class Extraction(Model):
    """How log-mels are extracted; none of it changes the result.

    Attributes:
        clips_per_shard: Clips in a file of the store, which is what one process makes and what an
            interruption costs.
        n_jobs: Processes; -1: one per core.
    """

    clips_per_shard: int = Field(512, ge=1)
    n_jobs: int = Field(-1, ge=-1)

    @field_validator("n_jobs")
    @classmethod
    def _some(cls, given: int) -> int:
        if given == 0:
            raise UserError("n_jobs=0 would do nothing: give a number, or -1 for one per core")
        return given


class Audio(Model):
    """Where audio is and how its labels are laid out.

    Attributes:
        audio: A folder, several folders, or a CSV or Parquet table; the words ``demo`` and
            ``demo_mixtures`` are rendered corpora; null means that there is none.
        labels: ``folders`` (one folder per class), ``table``, ``none``, or ``auto``.
        columns: Our column name -> the table's: label, split, fold, group, path, offset, frames.
        min_seconds: Shorter clips are rejected.
        max_seconds: Longer clips are rejected.
    """

    audio: str | list[str] | None = None
    labels: Literal["auto", "none", "folders", "table"] = "auto"
    columns: dict[str, str] = {}
    min_seconds: float = Field(0.01, gt=0)
    max_seconds: float = Field(3600.0, gt=0)

    @field_validator("audio", mode="before")
    @classmethod
    def _no_number(cls, given: Any) -> Any:
        if isinstance(given, int | float):
            kind = "true or false" if isinstance(given, bool) else "a number"
            raise UserError(f"audio={given} is {kind} to YAML; write ./{given}")
        return given


class TaskCard(Model):
    """What is known of a public data set before it is read.

    Attributes:
        clips: Number of clips that its layout lists.
        classes: Number of classes.
        seconds: Typical length of a clip.
        licence: Under which terms it may be used.
        get: Where to get it.
        source: The paper or page that says so.
        verified: Whether names, columns and counts were checked there.
    """

    clips: int | None = None
    classes: int | None = None
    seconds: float | None = None
    licence: str
    get: str
    source: str
    verified: bool = False


class Task(Audio):
    """A labelled data set on which encoders are compared.

    Attributes:
        title: What reports call it.
        layout: How a public data set lies on disk (see :mod:`unfused.tasks.layouts`); null: one of
            the ways of ``labels``.
        layout_options: Options of the layout.
        card: What is known of a public data set before it is read.
        label_separator: What stands between several labels of one clip (multi-label); null: a
            label is one class.
        valid_fraction: Validation share, where the data does not say.
        test_fraction: Test share, where the data does not say.
        split_seed: Seed of the parts that are cut here.
    """

    title: str | None = None
    layout: str | None = None
    layout_options: dict[str, Any] = {}
    card: TaskCard | None = None
    label_separator: str | None = Field(None, min_length=1)
    valid_fraction: float = Field(0.15, gt=0, lt=1)
    test_fraction: float = Field(0.2, gt=0, lt=1)
    split_seed: int = 0


class Demo(Model):
    """The rendered demo corpus.

    Attributes:
        n_notes: Number of clips.
        seconds: Length of each.
        n_mixtures: Number of clips of the multi-label demo.
        expected: How long UnFuSeD takes on the demo, in words; printed first.
    """

    n_notes: int = Field(2000, ge=258, le=4214)
    seconds: float = Field(1.5, gt=0.1)
    n_mixtures: int = Field(2000, ge=30)
    expected: str | None = None
