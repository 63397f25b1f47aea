"""State of one training: what a step, a row of metrics and a checkpoint are."""

from __future__ import annotations

import logging
import time
from math import isfinite
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ..core.distributed import average
from ..core.errors import UserError
from ..core.outputs import mark_of, shown
from ..core.progress import progress
from ..core.seeding import derive_seed, torch_generator
from ..methods.method import Method
from ..views.make_views import ViewMaker
from .batches import CropSource
from .checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from .collapse import signs_of_collapse, warn_of_collapse
from .embedding_pass import embedding_pass, on_device
from .host_memory import keep_freed_memory
from .metrics import Meter, MetricsFile
from .precision import pick_precision
from .replicas import Replicas
from .settings import TrainingSettings
from .stepper import Stepper

log = logging.getLogger(__name__)


class TrainingDiverged(RuntimeError):  # noqa: N818
    """The loss is no longer a finite number."""


class TrainingRun:
    """State of one call of :func:`~.loop.fit`, whose arguments it takes.

    Everything in it but the step is rebuilt from them. ``title`` is what the log calls it.
    """

    def __init__(
        self,
        method: Method,
        source: CropSource,
        views: ViewMaker,
        settings: TrainingSettings,
        folder: Path,
        seed: int,
        device: torch.device,
    ) -> None:
        _check_fit(method, source, settings)
        if device.type == "cpu":
            keep_freed_memory()
        self.method, self.source, self.views = method.to(device), source, views.to(device)
        self.settings, self.folder, self.seed, self.device = settings, folder, seed, device
        if settings.channels_last:
            method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.dtype = pick_precision(settings.precision, device)
        self.replicas = Replicas(method, sync_batch_norm=settings.sync_batch_norm, device=device)
        self.title = ""
        self.step, self.total = 0, settings.total_steps(source.n_clips)
        self.stepper = Stepper(method, settings, self.dtype, self.total, self.replicas)
        self.meter, self.file = Meter(device), MetricsFile(folder / "metrics.jsonl")
        self.mark = _mark(self)
        self._saved = self._logged = self._started = time.monotonic()
        self._first = self._logged_step = 0

    def resume(self) -> None:
        """Load the checkpoint if there is one, and cut the metrics back to it.

        Raises:
            CheckpointError: The checkpoint is of another run, or not all processes see it.
        """
        saved = load_checkpoint(self.folder / "checkpoint.pt", self.mark, self.device)
        if saved is not None:
            self.step, self.total = saved["step"], saved.get("total", self.total)
            self.method.load_state_dict(saved["method"])
            self.views.load_state_dict(saved["views"])
            self.stepper.load_state_dict(saved["stepper"])
            self.meter.load_state_dict(saved["meter"])
        highest, lowest = self.replicas.largest(self.step, -self.step)
        if highest != -lowest:
            raise CheckpointError(
                f"the processes stand at steps {-lowest} to {highest}: {self.folder} must be a "
                "folder that all of them see"
            )
        self.replicas.equalise()
        if self.replicas.is_first:
            self.file.truncate(self.step)
            self._log_start(resumed=saved is not None)
        self._first = self._logged_step = self.step

    def _log_start(self, *, resumed: bool) -> None:
        count = self.replicas.count
        log.info(
            "%s %s%s: %d steps of %d clips (%.1f epochs of %d clips) on %s in %s%s",
            f"resuming at step {self.step}," if resumed else "training",
            type(self.method).__name__,
            self._in_brackets(),
            self.total,
            self.source.clips_per_step,
            self.total / self.source.steps_per_epoch,
            self.source.n_clips,
            self.device,
            str(self.dtype).removeprefix("torch."),
            f", {count} processes" if count > 1 else "",
        )

    def _in_brackets(self) -> str:
        return f" ({self.title})" if self.title else ""

    def progress(self) -> Any:
        """Return the progress bar; of several processes the first one shows it."""
        return progress(
            total=self.total,
            initial=self.step,
            desc=type(self.method).__name__,
            unit="step",
            quiet=not self.replicas.is_first,
        )

    def start_epoch(self, epoch: int) -> None:
        """Let the method prepare an epoch (DECAR's prototypes)."""
        torch.manual_seed(derive_seed(self.seed, "epoch", epoch))
        embed = embedding_pass(self.method, self.source, self.views, self.device, self.dtype, epoch)
        self.meter.add(self.method.start_epoch(epoch, embed, self.seed))
        self.replicas.equalise()

    def train_step(self) -> Tensor:
        """Do one step and return its loss; nothing in it waits for the device."""
        step, stream = self.step, self.replicas.stream
        self.method.train()
        torch.manual_seed(derive_seed(self.seed, *stream("model", step)))
        clip_ids, crops = self.source.batch(step)
        crops = on_device(crops, self.device)
        generator = torch_generator(self.seed, *stream("views", step), device=self.device)
        views = self.views(crops, self.method.n_views, generator, self.method.n_crops)
        metrics = self.stepper.take(step, views, clip_ids.to(self.device))
        self.meter.add(metrics)
        self.step = step + 1
        return metrics["loss"]

    def end_here(self, epoch: int) -> None:
        """Make this step the last one; the checkpoint remembers it."""
        self.total = self.step
        if self._logged_step < self.step:
            self.log_row(epoch)

    def agree(self, due: bool, stop: int | None) -> list[int]:
        """Return whether to save, by process 0's clock, and the signal that any process got."""
        return self.replicas.largest(due and self.replicas.is_first, stop or 0)

    def log_row(self, epoch: int) -> float:
        """Write a row of metrics and return its mean loss."""
        means = self.meter.means()
        self._check_finite(means["loss"])
        now = time.monotonic()
        steps = self.step - self._logged_step
        per_step = self.source.clips_per_step
        row = {
            "step": self.step,
            "epoch": epoch,
            "clips": self.step * per_step,
            "loss": means.pop("loss"),
            "learning_rate": self.stepper.learning_rate(self.step - 1),
            "clips_per_second": round(steps * per_step / max(now - self._logged, 1e-9), 2),
        }
        if self.replicas.is_first:
            self.file.append(row | means)
        self.meter.clear()
        self._logged, self._logged_step = time.monotonic(), self.step
        return float(row["loss"])

    def checkpoint_due(self) -> bool:
        """Return whether the last checkpoint is old enough."""
        return time.monotonic() - self._saved >= self.settings.checkpoint_seconds

    def save(self, loss: Tensor) -> None:
        """Write a checkpoint, unless the weights are lost already."""
        mean = loss.clone()
        average([mean])
        self._check_finite(float(mean))
        meter = self.meter.state_dict()
        if self.replicas.is_first:
            content = {
                "step": self.step,
                "total": self.total,
                "method": self.method.state_dict(),
                "views": self.views.state_dict(),
                "stepper": self.stepper.state_dict(),
                "meter": meter,
            }
            save_checkpoint(self.folder / "checkpoint.pt", self.mark, content)
        self._saved = time.monotonic()

    def finish(self) -> pd.DataFrame:
        """Report the run and return its history."""
        self.method.eval()
        self.replicas.wait()
        history = self.file.table()
        signs = signs_of_collapse(history, self.source.clips_per_step)
        history.attrs["collapsed"] = bool(signs)
        if self.replicas.is_first:
            self._log_end()
            warn_of_collapse(signs)
        return history

    def _log_end(self) -> None:
        seconds = time.monotonic() - self._started
        clips = (self.step - self._first) * self.source.clips_per_step
        log.info(
            "trained %s%s: %d clip-updates in %.0f s (%.0f clips/s), in %s",
            type(self.method).__name__,
            self._in_brackets(),
            clips,
            seconds,
            clips / max(seconds, 1e-9),
            shown(self.folder),
        )

    def _check_finite(self, loss: float) -> None:
        if not isfinite(loss):
            rate = self.stepper.learning_rate(self.step - 1)
            raise TrainingDiverged(
                f"the loss is {loss} at step {self.step} of {self.total} with learning rate "
                f"{rate:.3g}: train with a lower learning_rate, a longer warmup or a gradient_clip "
                f"(1.0, say), or with precision='fp32' if this run's is {self.dtype}"
            )


def _check_fit(method: Method, source: CropSource, settings: TrainingSettings) -> None:
    for name, mine, other in (
        ("crop_frames", source.crop_frames, method.crop_frames),
        ("n_crops", source.n_crops, method.n_crops),
        ("batch_size", source.batch_size, settings.batch_size),
    ):
        if mine != other:
            whose = "settings" if name == "batch_size" else "method"
            raise UserError(
                f"the source has {name}={mine} and the {whose} {name}={other}; build the source "
                f"with {name}={other}"
            )


def _mark(run: TrainingRun) -> str:
    """Return the fingerprint of everything that decides the trained weights."""
    shapes = {name: list(value.shape) for name, value in run.method.state_dict().items()}
    source = [run.source.rows, run.source.lengths, run.source.crop_frames, run.source.seed]
    return mark_of(
        method=type(run.method).__name__,
        shapes=shapes,
        source=source,
        views=repr(run.views),
        settings=run.settings,
        seed=run.seed,
    )
