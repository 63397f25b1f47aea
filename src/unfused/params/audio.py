"""Audio: where it is, how it becomes log-mels, and the tasks that have labels for it."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ..core.errors import UserError
from ..data.front_end import FrontEndSettings
from ..demo.settings import DemoSettings
from .model import Folder, Model, Outputs, like


class FrontEndParams(like(FrontEndSettings, "eps")):  # type: ignore[misc]
    """Log-mel front-end; see :class:`unfused.data.log_mel.FrontEnd`."""

    sample_rate: int = Field(16000, ge=8000)  # narrower than the library's
    n_fft: int = Field(1024, ge=64)
    n_mels: int = Field(64, ge=8)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        from ..data.log_mel import FrontEnd

        FrontEnd(**self.model_dump())
        return self


class Extraction(Outputs):
    """How log-mels are extracted; none of it changes the result.

    Attributes:
        clips_per_shard: Clips in a file of the store, which is what one process makes and what an
            interruption costs.
        n_jobs: Processes; -1: one per core.
        folder: Where log-mels are kept.
        fresh: Make all of them again.
    """

    clips_per_shard: int = Field(512, ge=1)
    n_jobs: int = Field(-1, ge=-1)
    folder: Folder = Path("data/04_feature")

    @field_validator("n_jobs")
    @classmethod
    def _some(cls, given: int) -> int:
        if given == 0:
            raise UserError("n_jobs=0 would do nothing: give a number, or -1 for one per core")
        return given


class Audio(Model):
    """Where audio is and how its labels are laid out.

    Attributes:
        audio: A folder, several folders, or a CSV or Parquet table; the words ``demo``,
            ``demo_notes``, ``demo_mixtures`` and ``synthetic`` are corpora that are made on the
            spot; null means that there is none.
        labels: ``folders`` (one folder per class), ``table``, ``tracks`` (of Audacity or Raven
            beside recordings), ``none``, ``auto``, or a regular expression for the paths of files
            with a group ``(?P<label>...)``, and maybe others: ``group``, ``split``, ``fold``.
        labelled_since: A table of clips of the same corpus that have got a label since, with the
            usual names of columns.
        columns: Our column name -> the table's: label, split, fold, group, path, start, end ...;
            null: the table's column of our name means something else.
        min_seconds: Shorter clips are rejected.
        max_seconds: Longer clips are rejected.
        window_seconds: Clips without a label that are longer than three windows are cut into them;
            null: they are not.
    """

    audio: str | list[str] | None = None
    labels: str = "auto"
    labelled_since: str | None = None
    columns: dict[str, str | None] = {}
    min_seconds: float = Field(0.01, gt=0)
    max_seconds: float = Field(3600.0, gt=0)
    window_seconds: float | None = Field(10.0, gt=0)

    @field_validator("labels")
    @classmethod
    def _way_or_pattern(cls, given: str) -> str:
        from ..data.sources import name_pattern

        name_pattern(given)
        return given

    @field_validator("audio", "labelled_since", mode="before")
    @classmethod
    def _no_number(cls, given: Any, info: ValidationInfo) -> Any:
        if isinstance(given, int | float):
            kind = "true or false" if isinstance(given, bool) else "a number"
            raise UserError(f"{info.field_name}={given} is {kind} to YAML; write ./{given}")
        return given

    @property
    def paths(self) -> list[Path]:
        """Folders and tables with the audio, absolute."""
        given = [self.audio] if isinstance(self.audio, str) else list(self.audio or [])
        return [Path(path).expanduser().resolve() for path in given]


DEMOS = {"demo": "demo_corpus", "demo_notes": "demo_notes", "demo_mixtures": "demo_mixtures"}
"""What ``audio`` may say instead of a place, for what a SoundFont plays -> the dataset of it."""


class TaskCard(Model):
    """What is known of a public data set before it is read.

    Attributes:
        clips: Number of clips that its layout lists.
        classes: Number of classes.
        licence: Under which terms it may be used.
        get: Where to get it.
        source: The paper or page that says so.
        verified: Whether names, columns and counts were checked there.
    """

    clips: int | None = None
    classes: int | None = None
    licence: str
    get: str
    source: str
    verified: bool = False


class Task(Audio):
    """A labelled data set on which encoders are compared.

    Attributes:
        title: What tables and reports call it; null: as its folder.
        layout: How a public data set lies on disk (see :mod:`unfused.tasks.layouts`); null: one of
            the ways of ``labels``.
        layout_options: Options of the layout.
        card: What is known of a public data set before it is read.
        label_separator: What stands between several labels of one clip (multi-label); null: a
            label is one class.
        valid_fraction: Validation share, where the data does not say.
        test_fraction: Test share, where the data does not say.
        split_seed: Seed of the parts that are cut here.
        n_folds: Test each clip once, in so many folds, where the data does not say; ``auto``: in
            five, if a test part would have fewer than 100 clips; 1: one test part.
    """

    title: str | None = None
    layout: str | None = None
    layout_options: dict[str, Any] = {}
    card: TaskCard | None = None
    label_separator: str | None = Field(None, min_length=1)
    valid_fraction: float = Field(0.15, gt=0, lt=1)
    test_fraction: float = Field(0.2, gt=0, lt=1)
    split_seed: int = 0
    n_folds: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"

    @property
    def name(self) -> str:
        """What the task is called everywhere in results: its title, else as its folder."""
        from ..data.sources import corpus_name

        return self.title or corpus_name(self.audio or [])

    @property
    def licence(self) -> str | None:
        """Under which terms the audio may be used, where that is known."""
        if isinstance(self.audio, str) and self.audio in DEMOS:
            return "rendered from the SoundFont TimGM6mb, which is under the GPL-2"
        return self.card.licence if self.card else None


class Demo(like(DemoSettings, "seed")):  # type: ignore[misc]
    """Corpora that are made on the spot.

    Attributes:
        folder: Where the audio is kept.
        expected: How long UnFuSeD takes on the demo, in words; printed first.
    """

    n_notes: int = Field(2000, ge=120, le=3000)  # narrower than the library's
    n_mixtures: int = Field(2000, ge=30)
    seconds: float = Field(1.5, gt=0.1)
    folder: Folder = Path("data/01_raw")
    expected: str | None = None

    def settings(self) -> DemoSettings:
        """Return the library's settings."""
        return DemoSettings(**self.model_dump(exclude={"folder", "expected"}))
