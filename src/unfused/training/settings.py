"""How long and with what a method is trained: names, defaults and rules, in this one place.

The configuration's ``training`` groups are this class; importing it imports nothing heavy.
"""

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, get_args

from ..core.errors import UserError, check_fields

Optimiser = Literal["sgd", "adam", "adamw", "lars"]
Schedule = Literal["cosine", "constant"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
OPTIMISERS: tuple[str, ...] = get_args(Optimiser)
_Positive = Annotated[float, "positive"]
_Count = Annotated[int, "at least 1"]
PACE = ("log_every", "checkpoint_seconds")
"""Settings that only log and save."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Settings of one training run; exactly one of ``epochs`` and ``clip_updates`` is given.

    Attributes:
        epochs: Length in passes over the clips; fractions are allowed.
        clip_updates: Length in clips seen (steps times batch), so that runs on corpora of different
            size cost the same.
        batch_size: Clips per step of the optimiser, those of all processes and micro-batches
            together.
        accumulate: Micro-batches that a process's share of the batch passes in, one after the
            other, to need less memory. Their losses are averaged, weighted by their clips. So a
            loss of single clips is that of the whole batch; one that compares the clips of a batch
            compares those of a micro-batch, and so does batch norm.
        optimiser: "sgd", "adam", "adamw" or "lars".
        learning_rate: Its peak.
        bias_learning_rate: Peak for vectors and scalars (biases, normalisation weights); None: the
            same.
        momentum: Of sgd and lars; adam and adamw take it as their first beta.
        weight_decay: Strength; adamw and lars leave biases and normalisation weights out.
        warmup: Share of the steps over which the learning rate rises linearly.
        schedule: "cosine" (down to a thousandth of the peak) or "constant".
        precision: "auto", "fp32", "bf16" or "fp16" (with a scaled loss; CUDA only).
        channels_last: Keep 4-D weights in channels-last order.
        gradient_clip: Largest gradient norm; None: no clipping.
        sync_batch_norm: With several processes on GPUs, normalise by the clips of all of them;
            false, and on CPUs: each by its own.
        log_every: Steps between two rows of metrics.
        checkpoint_seconds: Seconds between two checkpoints.
        compile: Compile the method's forward pass with ``torch.compile``.
        cuda_graph: Let a GPU repeat the step by itself, for methods that allow it
            (:attr:`~unfused.methods.method.Method.graphable`), in one process, not in fp16.

    Raises:
        UserError: A value is out of its range.
    """

    epochs: _Positive | None = None
    clip_updates: _Count | None = None
    batch_size: Annotated[int, "at least 2"] = 128
    accumulate: _Count = 1
    optimiser: Optimiser = "adamw"
    learning_rate: _Positive = 1e-3
    bias_learning_rate: _Positive | None = None
    momentum: Annotated[float, "in [0, 1)"] = 0.9
    weight_decay: Annotated[float, "0 or positive"] = 0.0
    warmup: Annotated[float, "in [0, 1]"] = 0.1
    schedule: Schedule = "cosine"
    precision: Precision = "auto"
    channels_last: bool = True
    gradient_clip: _Positive | None = None
    sync_batch_norm: bool = True
    log_every: _Count = 10
    checkpoint_seconds: Annotated[float, "0 or positive"] = 60.0
    compile: bool = False
    cuda_graph: bool = True

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.clip_updates is None):
            raise UserError(
                "give exactly one of epochs and clip_updates, and set the other to null (None): "
                f"here epochs={self.epochs!r} and clip_updates={self.clip_updates!r}"
            )
        check_fields(self)
        if self.accumulate * 2 > self.batch_size:
            raise UserError(
                f"accumulate={self.accumulate} must be at most half of batch_size="
                f"{self.batch_size}: a micro-batch needs two clips, because batch norm does"
            )

    def total_steps(self, n_clips: int) -> int:
        """Return the number of steps on a corpus of ``n_clips`` clips, at least 1.

        >>> TrainingSettings(epochs=2, batch_size=32).total_steps(100)
        6
        >>> TrainingSettings(clip_updates=1000, batch_size=32).total_steps(100)
        31
        """
        batch = min(self.batch_size, n_clips)
        if self.clip_updates is not None:
            return max(1, round(self.clip_updates / batch))
        assert self.epochs is not None
        return max(1, round(self.epochs * (n_clips // batch)))

    def identity(self) -> dict[str, Any]:
        """Return the settings that decide the trained weights: all but logging and saving."""
        return {name: value for name, value in asdict(self).items() if name not in PACE}
