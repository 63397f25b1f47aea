"""Typed parameters: what ``conf/*/parameters`` may say, validated before any node runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from .suggestions import did_you_mean
from .training.settings import TrainingSettings


def unknown_name(shown: str, name: str, choices: Iterable[str], where: str = "") -> str:
    """Return the words that refuse an unknown name and propose the nearest known one."""
    known = list(choices)
    return f"{shown} is no parameter{where}: choose from {known}{did_you_mean(name, known)}"


def names_in(group: type) -> list[str]:
    """Return the names that a group of parameters has."""
    if is_dataclass(group):
        return [field.name for field in fields(group)]
    return list(group.model_fields) if issubclass(group, BaseModel) else []


class Model(BaseModel):
    """A group of parameters; unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _only_known(cls, given: Any) -> Any:
        for name in given if isinstance(given, dict) else ():
            if name not in cls.model_fields:
                raise ValueError(unknown_name(repr(name), str(name), cls.model_fields, " here"))
        return given


class Run(Model):
    """What holds for a whole run.

    Attributes:
        seeds: One pre-training, one set of pseudo-labels and one student for each.
        fresh: Rebuild everything, reuse nothing.
        device: ``auto`` (cuda, else mps, else cpu) or one of the three.
        processes: How many processes pre-train an encoder together, one per GPU; ``auto``: as many
            as there are GPUs. Everything else takes one.
        expected: How long the whole run takes, in words; printed first.
        tracking: ``mlflow`` logs the run there when it has ended; null: files only.
    """

    seeds: list[int] = Field(min_length=1)
    fresh: bool = False
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    processes: Annotated[int, Field(ge=1)] | Literal["auto"] = 1
    expected: str | None = None
    tracking: Literal["mlflow"] | None = None

    @model_validator(mode="after")
    def _distinct(self) -> Run:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds={self.seeds} names a seed twice; each is one repetition")
        return self


class FrontEndParams(Model):
    """Log-mel front-end; see :class:`unfused.audio.log_mel.FrontEnd`.

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
        from .audio.log_mel import FrontEnd

        FrontEnd(**self.model_dump())
        return self


class Extraction(Model):
    """How log-mels are extracted; none of it changes the result.

    Attributes:
        clips_per_shard: Clips in a file of the store, which is what one process makes and what an
            interruption costs.
        n_jobs: Processes; -1: one per core.
        backend: joblib's; ``dask`` and ``ray`` take a cluster, if there is one.
    """

    clips_per_shard: int = Field(512, ge=1)
    n_jobs: int = Field(-1, ge=-1)
    backend: Literal["loky", "threading", "dask", "ray"] = "loky"

    @field_validator("n_jobs")
    @classmethod
    def _some(cls, given: int) -> int:
        if given == 0:
            raise ValueError("n_jobs=0 would do nothing: give a number, or -1 for one per core")
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
            raise ValueError(f"audio={given} is {kind} to YAML; write ./{given}")
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


class Pretraining(Model):
    """What encoders are pre-trained on.

    Attributes:
        task_audio: Take the tasks' training audio too, fold by fold; false: the pools alone, as in
            the LAPE benchmark, so that one encoder serves every task and fold.
    """

    task_audio: bool = True


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


class EncoderParams(Model):
    """Which encoder architecture, with which settings.

    Attributes:
        name: The registered encoder.
        settings: Its constructor's keyword arguments.
    """

    name: str
    settings: dict[str, Any] = {}

    @model_validator(mode="after")
    def _known(self) -> EncoderParams:
        from .encoders import create

        create(self.name, **self.settings)
        return self


class Views(Model):
    """Augmentations of the training crops; BYOL-A's values (arXiv 2103.06695).

    The defaults are those of :class:`unfused.views.ViewMaker`; a test holds them together.

    Attributes:
        mixup_ratio: Largest share of a past crop mixed in; 0: none.
        mixup_bank: Past crops kept.
        freq_scale: Height of the resized crop, relative to the input's.
        time_scale: Its width.
        virtual_crop: Canvas of the resized crop, height and width.
        freq_masks: Bands of mel channels that SpecAugment hides in each view; 0: none.
        freq_mask_width: Their largest width in channels.
        time_masks: Bands of frames that it hides; 0: none.
        time_mask_width: Their largest width in frames.
    """

    mixup_ratio: float = Field(default=0.4, ge=0, le=1)
    mixup_bank: int = Field(default=2048, ge=1)
    freq_scale: tuple[float, float] = (0.6, 1.5)
    time_scale: tuple[float, float] = (0.6, 1.5)
    virtual_crop: tuple[float, float] = (1.0, 1.5)
    freq_masks: int = Field(default=0, ge=0)
    freq_mask_width: int = Field(default=16, ge=1)
    time_masks: int = Field(default=0, ge=0)
    time_mask_width: int = Field(default=16, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> Views:
        for name in ("freq_scale", "time_scale"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name}=({low}, {high}) must be 0 < low <= high")
        return self

    @model_serializer(mode="wrap")
    def _what_counts(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is not in use: an option that is off trains nothing anew."""
        off = self._off()
        return {name: value for name, value in dump(self).items() if name not in off}

    def _off(self) -> set[str]:
        axes = [axis for axis in ("freq", "time") if not getattr(self, f"{axis}_masks")]
        return {f"{axis}_{name}" for axis in axes for name in ("masks", "mask_width")}


class MethodViews(Views):
    """Augmentations of a self-supervised method; k-mix has centroids of the pre-training clips.

    Attributes:
        mixing: ``mixup`` with any past crop, ``k_mix`` (SLICER) with one far away, ``none``.
        k_mix_furthest: How many of the furthest past crops k-mix draws from.
        linear_gain: Largest gain of the linear fade of BYOL-A's version 2, where it is 1; 0: none.
    """

    mixing: Literal["mixup", "k_mix", "none"] = "mixup"
    k_mix_furthest: int = Field(default=128, ge=1)
    linear_gain: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _below_the_bank(self) -> MethodViews:
        if self.mixing == "k_mix" and self.k_mix_furthest >= self.mixup_bank:
            raise ValueError(
                f"k_mix_furthest={self.k_mix_furthest} must be less than mixup_bank="
                f"{self.mixup_bank}: with the whole bank to draw from k-mix is plain mixup"
            )
        return self

    def _off(self) -> set[str]:
        off = super()._off()
        if self.mixing != "k_mix":
            off.add("k_mix_furthest")
        if self.mixing == "mixup":
            off.add("mixing")
        if self.linear_gain == 0.0:
            off.add("linear_gain")
        return off


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


def _only_settings(given: Any) -> Any:
    names = names_in(TrainingSettings)
    for name in given if isinstance(given, dict) else ():
        if name not in names:
            raise ValueError(unknown_name(repr(name), str(name), names, " here"))
    return given


Training = Annotated[TrainingSettings, BeforeValidator(_only_settings)]
"""The training loop: names, defaults and rules are those of its settings."""


class MethodParams(Model):
    """A self-supervised method: its hyper-parameters, its views and its training.

    Attributes:
        name: The registered method.
        settings: Its hyper-parameters.
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
        from .methods import check_settings

        check_settings(self.name, self.settings)
        return self


class PseudoLabels(Model):
    """How a task's audio is clustered into pseudo-labels.

    Attributes:
        n_clusters: Number of pseudo-classes K; null: the number of classes.
        features: What is clustered: the projector's output or the encoder's.
        whiten_dim: Axes that whitening keeps, at most a quarter of the clips; null: no whitening.
        iterations: Updates of the centroids in k-means.
        controls: Further students, on other pseudo-labels.
    """

    n_clusters: int | None = Field(None, ge=2)
    features: Literal["projector", "encoder"] = "encoder"
    whiten_dim: int | None = Field(128, ge=2)
    iterations: int = Field(20, ge=1)
    controls: list[Literal["random_encoder", "log_mel_statistics", "shuffled", "true_labels"]] = []


class Distillation(Model):
    """Self-distillation of a randomly initialised encoder on pseudo-labels.

    Attributes:
        alpha: Weight of the blocks' cross entropies against their divergences.
        beta: Weight of the hints.
        mse_on: What the hints compare.
        detach_teacher: Keep the students' losses from moving the teacher.
        hidden: Hidden width of the blocks' heads; null: the number of pseudo-classes.
        blocks: Taps that get a head.
        crop_frames: Length of a training crop.
        cut: Where the student ends.
        views: Augmentations of the training crops.
        training: Length, optimiser and precision.
    """

    alpha: float = Field(0.7, ge=0, le=1)
    beta: float = Field(0.003, ge=0)
    mse_on: Literal["logits", "features"] = "logits"
    detach_teacher: bool = True
    hidden: int | None = Field(None, ge=1)
    blocks: list[str] = Field(["block1", "block2", "block3"], min_length=1)
    crop_frames: int = Field(96, ge=16)
    cut: str = "block3"
    views: Views = Field(default_factory=Views)
    training: Training


class Unfused(Model):
    """UnFuSeD proper: pseudo-labels and self-distillation."""

    pseudo_labels: PseudoLabels
    distillation: Distillation


class FineTuning(Model):
    """End-to-end training on the true labels, from an encoder or from scratch.

    Attributes:
        encoders: Which encoders are fine-tuned.
        views: Augmentations of the training crops.
        crop_frames: Length of a training crop.
        dropout: Dropout on the embedding.
        label_smoothing: Share of the target spread over all classes.
        mixup_alpha: Mix crops and their labels by shares from Beta(alpha, alpha); 0: no mixup. The
            views' mixup adds a faint past crop and leaves the label alone.
        head: What the classifier of a fine-tuned encoder starts from; from scratch it is random.
        validate_every: Epochs from one validation to the next.
        patience: Validations in a row that may be no better than the best before training stops;
            null: it never stops early.
        fine_tuning: Length, optimiser and precision from a trained encoder.
        from_scratch: The same from a random one.
    """

    encoders: list[str]
    views: Views
    crop_frames: int = Field(96, ge=16)
    dropout: float = Field(0.0, ge=0, lt=1)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    mixup_alpha: float = Field(0.0, ge=0)
    head: Literal["linear_probe", "random"] = "linear_probe"
    validate_every: int = Field(1, ge=1)
    patience: int | None = Field(None, ge=1)
    fine_tuning: Training
    from_scratch: Training

    @model_validator(mode="after")
    def _known(self) -> FineTuning:
        from .methods import available

        choices = ["random_init", "unfused", "unfused_full", *available()]
        if unknown := [name for name in self.encoders if name not in choices]:
            hint = did_you_mean(unknown[0], choices)
            raise ValueError(f"encoders names {unknown}: choose from {choices}{hint}")
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
    def _known(self) -> LabelEfficiency:
        self.parsed()
        return self

    def parsed(self) -> tuple[Any, ...]:
        """Return the budgets as the library has them."""
        from .evaluation.label_budgets import LabelBudget

        return tuple(LabelBudget.parse(budget) for budget in self.budgets)

    def takes(self, encoder: str, source: str) -> bool:
        """Return whether an encoder, and what its pseudo-labels came from, is probed."""
        asked = self.encoders is None or encoder in self.encoders
        return asked and source in ("", "teacher")


class Evaluation(Model):
    """How encoders are compared.

    Attributes:
        cuts: Taps at which whole encoders are probed, beside the student's.
        embedding: What of a clip is embedded.
        protocols: Probes of frozen encoders.
        transductive: Train without labels on held-out audio too; marks the rows.
        bootstrap: Resamples of an interval.
        label_efficiency: How encoders do with few labels.
        supervised: Training end to end.
    """

    cuts: list[str] = ["block3", "fc2"]
    embedding: Literal["whole_clip", "window_mean", "random_crop"] = "whole_clip"
    protocols: list[Literal["linear_probe", "knn"]] = Field(["linear_probe"], min_length=1)
    transductive: bool = False
    bootstrap: int = Field(2000, ge=100)
    label_efficiency: LabelEfficiency = Field(default_factory=LabelEfficiency)
    supervised: FineTuning


class Report(Model):
    """What the report says about the study itself.

    Attributes:
        configurations_tried: How many settings were compared before this one; null: not stated.
        tsne_points: Clips in the map of pseudo-labels; of more a random sample is drawn.
    """

    configurations_tried: int | None = None
    tsne_points: int = Field(2000, ge=10)


class TrainedModel(Model):
    """Which trained model is used on new audio, or exported.

    Attributes:
        task: Whose labels it predicts; null: one's own data if named, else the last run's first.
        encoder: ``unfused`` (the student), ``unfused_full`` or a method; of networks that were
            trained end to end, those that a run trained, e.g. ``supervised``.
        source: Where the pseudo-labels of ``unfused`` and ``unfused_full`` came from.
        protocol: A linear probe on the frozen encoder, or a network that was trained end to end.
        cut: Tap of the encoder that the probe takes; null: its own.
        seed: Seed of the arm; null: the first.
        fold: Fold of the arm; null: the first.
        folder: A stored classifier, in place of all the above.
    """

    task: str | None = None
    encoder: str = "unfused"
    source: str = "teacher"
    protocol: Literal["linear_probe", "fine_tuning"] = "linear_probe"
    cut: str | None = None
    seed: int | None = None
    fold: int | None = Field(None, ge=0)
    folder: str | None = None

    @model_validator(mode="after")
    def _possible(self) -> TrainedModel:
        if self.cut is not None and self.protocol == "fine_tuning":
            raise ValueError(
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


def check_keys(given: Any, group: type, where: str) -> None:
    """Refuse names that a group of parameters, or a group in it, does not have.

    Values are not looked at, so nothing heavy is imported.

    Args:
        given: The group as configured.
        group: What it may say.
        where: Its dotted name.

    Raises:
        ValueError: A name is unknown, or a group is a single value.
    """
    if given is None:
        return
    names = names_in(group)
    if not isinstance(given, dict):
        raise ValueError(f"{where}={given!r} is a group of parameters: set one of {names} in it")
    for name, value in given.items():
        if name not in names:
            raise ValueError(unknown_name(f"{where}.{name}", str(name), names))
        inner = get_type_hints(group)[name]
        if isinstance(inner, type) and names_in(inner):
            check_keys(value, inner, f"{where}.{name}")


def check_together(
    encoder: EncoderParams,
    front_end: FrontEndParams,
    distillation: Distillation,
    evaluation: Evaluation,
    methods: Mapping[str, MethodParams] | None = None,
) -> None:
    """Refuse settings that only together make no sense, before hours of training show it.

    Args:
        encoder: The run's encoder.
        front_end: Makes the log-mels.
        distillation: Of the student, which has the run's encoder.
        evaluation: Where encoders are probed.
        methods: Name -> those of the run, which may bring encoders of their own.

    Raises:
        ValueError: A cut is no tap of any encoder, or an encoder expects other log-mels.
    """
    from .encoders import create

    own = {f"methods.{name}.": method.encoder for name, method in (methods or {}).items()}
    modules = {
        where: create(item.name, **item.settings)
        for where, item in {"": encoder, **own}.items()
        if item is not None
    }
    taps = list(modules[""].dims)
    every = list(dict.fromkeys(tap for module in modules.values() for tap in module.dims))
    for name, given, choices in (
        ("unfused.distillation.cut", [distillation.cut], taps),
        ("unfused.distillation.blocks", distillation.blocks, taps[:-1]),  # the last one teaches
        ("evaluation.cuts", evaluation.cuts, every),
    ):
        if unknown := [cut for cut in given if cut not in choices]:
            raise ValueError(
                f"{name}={unknown[0]!r} is no tap of encoder {encoder.name!r}: choose from "
                f"{choices}{did_you_mean(unknown[0], choices)}"
            )
    for where, module in modules.items():
        n_mels = getattr(module, "settings", {}).get("n_mels", front_end.n_mels)
        if n_mels != front_end.n_mels:
            raise ValueError(
                f"front_end.n_mels={front_end.n_mels}, but the encoder takes {n_mels}: set "
                f"{where}encoder.settings.n_mels={front_end.n_mels} too"
            )
