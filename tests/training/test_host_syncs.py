"""Nothing in a training step makes the host wait for the device.

A GPU is not needed to see it: what waits there is a known set of operators (reading a number,
counting where a mask holds, copying a Python list), and here each of them is an error. With a GPU
``test_cuda.py`` asks CUDA itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from unfused import encoders, methods
from unfused.methods.supervised import Supervised
from unfused.training.batches import CropSource, DeviceFrames
from unfused.training.history import Meter
from unfused.training.loop import Training
from unfused.training.settings import TrainingSettings
from unfused.views import ViewMaker

from .test_real_methods import N_CLIPS, SMALL, method_of, store  # noqa: F401

WAITS = {
    *("_local_scalar_dense", "item", "is_nonzero", "equal", "allclose", "nonzero"),
    *("masked_select", "_unique2", "unique_dim", "unique_consecutive", "lift_fresh"),
    *("repeat_interleave", "bincount", "histc"),
}
BY_MASK = {"index", "index_put", "index_put_", "_index_put_impl_"}


class WouldWait(RuntimeError):  # noqa: N818
    """An operator that waits for the device."""


class NothingWaits(TorchDispatchMode):
    """Refuses operators that would make the host wait, were the tensors on a GPU.

    Args:
        *allowed: Some of them that are not refused.
    """

    def __init__(self, *allowed: str) -> None:
        super().__init__()
        self.waits = WAITS - set(allowed)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masks = args[1] if name in BY_MASK else []
        if name in self.waits or any(m is not None and m.dtype == torch.bool for m in masks):
            raise WouldWait(name)
        return func(*args, **(kwargs or {}))


def run_of(name: str, clips: Any, folder: Path, **changes: Any) -> Training:
    method, rows = method_of(name), np.arange(N_CLIPS)
    shape: dict[str, Any] = {"crop_frames": method.crop_frames}
    if name == "byol_a":  # which has all that costs no method anything
        shape |= {"clip_normalisation": True}
    if name == "slicer":  # which has k-mix
        shape |= {"mixing": "k_mix", "k_mix_centroids": torch.randn(3, 16), "k_mix_furthest": 4}
    views = ViewMaker(mean=-6.0, std=3.0, n_mels=16, mixup_bank=20, **shape)
    crops = {"crop_frames": method.crop_frames, "n_crops": method.n_crops}
    source = CropSource(clips, rows, batch_size=8, seed=0, **crops)
    settings = TrainingSettings(epochs=3, batch_size=8, **changes)
    return Training(method, source, views, settings, folder, 0, torch.device("cpu"))


@pytest.mark.parametrize("name", [*SMALL, "distillation", "supervised"])
def test_a_step_of_every_method(tmp_path: Path, store: Any, name: str) -> None:  # noqa: F811
    run = run_of(name, store, tmp_path, precision="bf16", gradient_clip=1.0, accumulate=2)
    with run.source:
        run.start_epoch(0)
        run.train_step()  # the optimiser's state is made in the first step
        with NothingWaits():
            run.train_step()
        assert run.step == 2


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw", "lars"])
def test_a_step_of_every_optimiser(tmp_path: Path, store: Any, optimiser: str) -> None:  # noqa: F811
    run = run_of("cola", store, tmp_path, optimiser=optimiser, bias_learning_rate=0.01)
    with run.source:
        run.train_step()
        with NothingWaits():
            run.train_step()


def test_crops_of_frames_on_the_device(store: Any) -> None:  # noqa: F811
    frames = DeviceFrames(store, np.arange(N_CLIPS), torch.device("cpu"))
    with NothingWaits("lift_fresh"):  # rows and starts are copied without waiting
        frames.crops(np.arange(4), np.array([-3, 0, 5, 9]), 20)


@pytest.mark.parametrize(
    "waits",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.sum() > 0),
        lambda x: x[x > 0],
        lambda x: x.new_tensor([1.0, 2.0]),
        lambda x: torch.where(x > 0),
    ],
)
def test_the_test_sees_what_waits(waits: Any) -> None:
    with NothingWaits(), pytest.raises(WouldWait):
        waits(torch.ones(3))


def test_a_row_of_metrics_is_one_transfer() -> None:
    meter, numbers = Meter(torch.device("cpu")), torch.arange(6.0)
    for step in range(3):
        meter.add({"a": numbers[step], "b": numbers[step + 3]})
    moved: list[Tensor] = []
    original = Tensor.tolist
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tensor, "tolist", lambda self: moved.append(self) or original(self))
        assert meter.means() == {"a": 1.0, "b": 4.0}
    assert len(moved) == 1


@pytest.mark.parametrize("name", [*SMALL, "distillation", "supervised"])
def test_a_step_that_a_gpu_may_repeat_is_the_same_on_tensors_in_every_step(
    tmp_path: Path,
    store: Any,  # noqa: F811
    name: str,
) -> None:
    run = run_of(name, store, tmp_path)
    assert run.method.graphable

    def operators() -> list[str]:
        recorder = Recorder()
        with recorder:
            run.train_step()
        return recorder.names

    with run.source:
        run.start_epoch(0)
        run.train_step()  # the optimiser's state is made in the first step
        first = operators()
        assert first == operators() == operators()


class Recorder(TorchDispatchMode):
    """Remembers each operator with its arguments that are no tensors, but seeds."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        plain = [arg for arg in args if isinstance(arg, (int, float, bool))]
        self.names.append(f"{func} {plain}")
        return func(*args, **(kwargs or {}))


def test_the_recorder_sees_a_momentum_that_moves(tmp_path: Path, store: Any) -> None:  # noqa: F811
    run = run_of("byol_a", store, tmp_path)
    run.method.momentum_end = 1.0
    seen = []
    with run.source:
        run.train_step()
        for _ in range(2):
            with Recorder() as recorder:
                run.train_step()
            seen.append(recorder.names)
    assert seen[0] != seen[1]


def test_what_changes_on_the_host_is_not_to_be_repeated() -> None:
    encoder = encoders.create("audio_ntt", d=16, n_mels=16, channels=8)
    ends = methods.create("byol_a", encoder, n_clips=9, projector_dim=8, momentum_end=1.0)
    mixed = Supervised(encoder, labels=np.arange(9) % 3, n_classes=3, mixup_alpha=0.2)
    assert not ends.graphable
    assert not mixed.graphable
