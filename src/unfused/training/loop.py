"""The one training loop, for every method."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from math import isfinite
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..methods.method import Method
from ..seeding import derive_seed, torch_generator
from ..views.make_views import ViewMaker
from ..workspace import fingerprint
from .batches import CropSource
from .checkpoint import load_checkpoint, save_checkpoint
from .collapse import warn_of_collapse
from .embedding_pass import embedding_pass, on_device
from .host_memory import keep_freed_memory
from .interruption import StopRequest
from .metrics import Meter, MetricsFile
from .optimisers import create
from .precision import autocast, pick_device, pick_precision
from .schedule import learning_rate
from .settings import TrainingSettings

log = logging.getLogger(__name__)


class TrainingDiverged(RuntimeError):  # noqa: N818
    """The loss is no longer a finite number."""


def fit(
    method: Method,
    source: CropSource,
    views: ViewMaker,
    settings: TrainingSettings,
    *,
    folder: Path,
    seed: int,
    device: torch.device | str = "auto",
    epoch_end: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Train a method, or go on where a stopped run of the same training left off.

    A run that was stopped anywhere, by a signal, an exception or a power cut, and is started again
    with the same arguments ends on a CPU with the same weights, bit for bit, as one that never
    stopped. So every random number is a function of (seed, step): crops and views by their own
    generators, and what layers draw (dropout) from torch's global generator, re-seeded before each
    step. (``torch.random.fork_rng`` would keep the global state, but copies the GPU's generator to
    the host each time; so the caller's global state is not kept.)

    Args:
        method: What is trained, in place; moved to the device, and left there in evaluation mode.
        source: Batches of crops.
        views: Makes the method's views of them.
        settings: How long and with what.
        folder: Gets ``checkpoint.pt`` and ``metrics.jsonl``.
        seed: Seed of views, dropout and the method's epoch starts.
        device: Where to compute.
        epoch_end: Called with the epoch's number after its last step and before the checkpoint,
            so that after a crash an epoch may be reported again. Its own state is the caller's.

    Returns:
        One row per ``log_every`` steps: step, epoch, clips, loss, learning_rate, clips_per_second
        and the method's metrics, all means over the row's steps. ``attrs["collapsed"]`` tells
        whether the embedding has collapsed at the end.

    Raises:
        TrainingDiverged: The loss is not finite.
        CheckpointError: The folder holds a checkpoint of another run, or a damaged one.
        ValueError: Source, method and settings do not fit together.
        OSError: The folder cannot be written.
    """
    run = _Run(method, source, views, settings, Path(folder), seed, pick_device(device))
    run.resume()
    with StopRequest() as stop, run.progress() as bar:
        while run.step < run.total:
            epoch, index = divmod(run.step, source.steps_per_epoch)
            if index == 0:
                run.start_epoch(epoch)
            loss = run.train_step()
            bar.update()
            last = run.step == run.total
            if last or run.step % settings.log_every == 0:
                bar.set_postfix(loss=f"{run.log_row(epoch):.4g}", refresh=False)
            if epoch_end is not None and (last or run.step % source.steps_per_epoch == 0):
                method.eval()
                epoch_end(epoch)
            if last or stop.requested or run.checkpoint_due():
                run.save(loss)
            if stop.requested:
                stop.end()
    return run.finish()


class _Run:
    """State of one call of :func:`fit`: everything in it but the step is rebuilt from arguments."""

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
        self.forward = torch.compile(method) if settings.compile else method
        self.optimiser = create(
            settings.optimiser,
            method.parameters(),
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
        self.step, self.total = 0, settings.total_steps(source.n_clips)
        self.meter, self.file = Meter(), MetricsFile(folder / "metrics.jsonl")
        self.mark = _mark(self)
        self._saved = self._logged = self._started = time.monotonic()
        self._first = self._logged_step = 0

    def resume(self) -> None:
        """Load the checkpoint if there is one, and cut the metrics back to it."""
        saved = load_checkpoint(self.folder / "checkpoint.pt", self.mark, self.device)
        if saved is not None:
            self.step = saved["step"]
            self.method.load_state_dict(saved["method"])
            self.views.load_state_dict(saved["views"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.meter.load_state_dict(saved["meter"])
        self.file.truncate(self.step)
        self._first = self._logged_step = self.step
        log.info(
            "%s %s: %d steps of %d clips (%.1f epochs of %d clips) on %s in %s",
            f"resuming at step {self.step}," if saved else "training",
            type(self.method).__name__,
            self.total,
            self.source.clips_per_step,
            self.total / self.source.steps_per_epoch,
            self.source.n_clips,
            self.device,
            str(self.dtype).removeprefix("torch."),
        )

    def progress(self) -> tqdm:
        """Return the progress bar, shown only on a terminal."""
        return tqdm(
            total=self.total,
            initial=self.step,
            desc=type(self.method).__name__,
            unit="step",
            disable=True if os.environ.get("TQDM_DISABLE") else None,
        )

    def start_epoch(self, epoch: int) -> None:
        """Let the method prepare an epoch (DECAR's prototypes)."""
        torch.manual_seed(derive_seed(self.seed, "epoch", epoch))
        embed = embedding_pass(self.method, self.source, self.views, self.device, self.dtype, epoch)
        self.meter.add(self.method.start_epoch(epoch, embed, self.seed))

    def train_step(self) -> Tensor:
        """Do one step; nothing in it waits for the device."""
        step, settings = self.step, self.settings
        self.method.train()
        torch.manual_seed(derive_seed(self.seed, "model", step))
        clip_ids, crops = self.source.batch(step)
        crops = on_device(crops, self.device)
        generator = torch_generator(self.seed, "views", step, device=self.device)
        views = self.views(crops, self.method.n_views, generator, self.method.n_crops)
        with autocast(self.device, self.dtype):
            loss, metrics = self.forward(views, clip_ids.to(self.device))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if settings.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.method.parameters(), settings.gradient_clip)
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate(step)
        self.optimiser.step()
        self.method.after_step(step)
        self.meter.add({"loss": loss, **metrics})
        self.step = step + 1
        return loss.detach()

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        warmup = round(self.settings.warmup * self.total)
        return learning_rate(
            step, self.total, warmup, self.settings.learning_rate, self.settings.schedule
        )

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
            "learning_rate": self.learning_rate(self.step - 1),
            "clips_per_second": round(steps * per_step / max(now - self._logged, 1e-9), 2),
        }
        self.file.append(row | means)
        self.meter.clear()
        self._logged, self._logged_step = time.monotonic(), self.step
        return float(row["loss"])

    def checkpoint_due(self) -> bool:
        """Return whether the last checkpoint is old enough."""
        return time.monotonic() - self._saved >= self.settings.checkpoint_seconds

    def save(self, loss: Tensor) -> None:
        """Write a checkpoint, unless the weights are lost already."""
        self._check_finite(float(loss))
        save_checkpoint(
            self.folder / "checkpoint.pt",
            self.mark,
            {
                "step": self.step,
                "method": self.method.state_dict(),
                "views": self.views.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "meter": self.meter.state_dict(),
            },
        )
        self._saved = time.monotonic()

    def finish(self) -> pd.DataFrame:
        """Report the run and return its history."""
        self.method.eval()
        seconds = time.monotonic() - self._started
        history = self.file.table()
        clips = (self.step - self._first) * self.source.clips_per_step
        log.info(
            "trained %s: %d clip-updates in %.0f s (%.0f clips/s), metrics in %s",
            type(self.method).__name__,
            clips,
            seconds,
            clips / max(seconds, 1e-9),
            self.file.path,
        )
        history.attrs["collapsed"] = warn_of_collapse(history, self.source.clips_per_step)
        return history

    def _check_finite(self, loss: float) -> None:
        if not isfinite(loss):
            rate = self.learning_rate(self.step - 1)
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
            raise ValueError(
                f"the source has {name}={mine} and the {whose} {name}={other}; build the source "
                f"with {name}={other}"
            )


def _mark(run: _Run) -> str:
    """Return the fingerprint of everything that decides the trained weights."""
    shapes = {name: list(value.shape) for name, value in run.method.state_dict().items()}
    source = [run.source.rows, run.source.lengths, run.source.crop_frames, run.source.seed]
    return fingerprint(
        type(run.method).__name__,
        shapes,
        source,
        repr(run.views),
        run.settings.identity(),
        run.seed,
    )
