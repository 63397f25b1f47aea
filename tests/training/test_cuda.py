"""What only a GPU can show; skipped where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unfused.training.batches import CropSource, DeviceFrames
from unfused.training.loop import Training, fit
from unfused.training.precision import pick_device
from unfused.training.processes import in_processes
from unfused.training.settings import TrainingSettings
from unfused.views import ViewMaker

from .test_real_methods import N_CLIPS, SMALL, method_of, store  # noqa: F401

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
several = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA GPUs")


@contextmanager
def nothing_waits() -> Iterator[None]:
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def parts_of(name: str, clips: Any, **changes: Any) -> tuple[Any, CropSource, ViewMaker, Any]:
    method, rows, device = method_of(name), np.arange(N_CLIPS), pick_device("cuda")
    shape: dict[str, Any] = {"crop_frames": method.crop_frames}
    if name == "slicer":
        shape |= {"mixing": "k_mix", "k_mix_centroids": torch.randn(3, 16), "k_mix_furthest": 4}
    views = ViewMaker(mean=-6.0, std=3.0, n_mels=16, mixup_bank=20, **shape)
    crops = {"crop_frames": method.crop_frames, "n_crops": method.n_crops}
    settings = TrainingSettings(
        **{"epochs": 2, "batch_size": 8, "log_every": 1, "checkpoint_seconds": 0, **changes}
    )
    on_device = changes.get("accumulate") is None  # both ways to gather crops
    source = CropSource(
        clips, rows, batch_size=8, seed=0, device=device, on_device=on_device, **crops
    )
    return method, source, views, settings


def trained(folder: Path, name: str, clips: Any, **changes: Any) -> tuple[Any, Any]:
    method, source, views, settings = parts_of(name, clips, **changes)
    with source:
        history = fit(method, source, views, settings, folder=folder, seed=0, device="cuda")
    return method, history


def train_on_each(folder: Path, clips: Any, sync: bool) -> None:
    changes = {"precision": "fp32", "sync_batch_norm": sync, "channels_last": False}
    method, _ = trained(folder, "supervised", clips, **changes)
    state = {name: value.cpu() for name, value in method.state_dict().items()}
    torch.save(state, folder / f"weights{torch.cuda.current_device()}.pt")


def test_the_device_has_its_number() -> None:
    assert pick_device("cuda") == pick_device("auto") == torch.device("cuda", 0)


def test_frames_on_the_gpu_equal_the_store(store: Any) -> None:  # noqa: F811
    rows = np.arange(N_CLIPS)[::-1]
    frames = DeviceFrames(store, rows, pick_device("cuda"))
    picked, starts = np.arange(N_CLIPS), np.arange(N_CLIPS) - 12
    expected = store.crops(rows[picked], starts, 96)
    for found, wanted in zip(frames.crops(picked, starts, 96), expected, strict=True):
        assert found.is_cuda
        assert torch.equal(found.cpu(), wanted)


@pytest.mark.parametrize("on_device", [True, False])
def test_batches_on_the_gpu_are_those_of_the_cpu(store: Any, on_device: bool) -> None:  # noqa: F811
    how = {"crop_frames": 96, "batch_size": 8, "seed": 0}
    rows, gpu = np.arange(N_CLIPS), pick_device("cuda")
    with (
        CropSource(store, rows, **how) as here,
        CropSource(store, rows, device=gpu, on_device=on_device, **how) as there,
    ):
        for step in range(5):
            (ids, view), (other_ids, other) = here.batch(step), there.batch(step)
            assert torch.equal(ids, other_ids.cpu())
            assert torch.equal(view.log_mel, other.log_mel.cpu())
            assert torch.equal(view.spans, other.spans.cpu())


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_precision_trains(
    tmp_path: Path,
    store: Any,  # noqa: F811
    precision: str,
    channels_last: bool,
) -> None:
    method, history = trained(
        tmp_path, "decar", store, precision=precision, channels_last=channels_last
    )
    assert history["loss"].notna().all()
    assert all(torch.isfinite(parameter).all() for parameter in method.parameters())
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert bool(saved["scaler"]) == (precision == "fp16")


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw", "lars"])
def test_float16_trains_with_every_optimiser(
    tmp_path: Path,
    store: Any,  # noqa: F811
    optimiser: str,
) -> None:
    changes = {"optimiser": optimiser, "precision": "fp16", "gradient_clip": 1.0, "accumulate": 2}
    method, history = trained(tmp_path, "cola", store, **changes)
    assert history["loss"].notna().all()
    assert all(torch.isfinite(parameter).all() for parameter in method.parameters())


def test_the_loss_scale_is_resumed(tmp_path: Path, store: Any) -> None:  # noqa: F811
    method, source, views, settings = parts_of("cola", store, precision="fp16")
    with source:
        run = Training(method, source, views, settings, tmp_path, 0, source.device)
        run.resume()
        run.train_step()
        run.scaler.update(128.0)
        run.save(torch.zeros((), device=source.device))
    method, source, views, settings = parts_of("cola", store, precision="fp16")
    with source:
        again = Training(method, source, views, settings, tmp_path, 0, source.device)
        again.resume()
        assert (again.step, again.scaler.get_scale()) == (1, 128.0)


@pytest.mark.parametrize("name", [*SMALL, "distillation", "supervised"])
def test_a_recorded_step_computes_what_the_step_does(
    tmp_path: Path,
    store: Any,  # noqa: F811
    name: str,
) -> None:
    histories, states = [], []
    for graph in (True, False):
        method, source, views, settings = parts_of(name, store, cuda_graph=graph, precision="fp32")
        with source:
            run = Training(method, source, views, settings, tmp_path / str(graph), 0, source.device)
            run.resume()
            run.start_epoch(0)
            assert (run.update == run._update) is not graph
            histories.append(torch.stack([run.train_step().clone() for _ in range(9)]))
        states.append(method.state_dict())
    torch.testing.assert_close(*histories, rtol=1e-3, atol=1e-5)
    assert len(histories[0].unique()) > 5  # other crops, other views: other losses
    for key, value in states[0].items():
        torch.testing.assert_close(value, states[1][key], rtol=5e-3, atol=1e-3, msg=key)


def test_a_training_is_recorded_again_after_a_stop(tmp_path: Path, store: Any) -> None:  # noqa: F811
    whole, history = trained(tmp_path / "whole", "slicer", store, epochs=4)
    method, source, views, settings = parts_of("slicer", store, epochs=4)
    stopping: dict[str, Any] = {"folder": tmp_path / "cut", "seed": 0, "device": "cuda"}
    with source, pytest.raises(ZeroDivisionError):
        fit(
            method,
            source,
            views,
            settings,
            epoch_end=lambda epoch: 1 // (1 - epoch) > 9,
            **stopping,
        )
    again, resumed = trained(tmp_path / "cut", "slicer", store, epochs=4)
    assert resumed["step"].tolist() == history["step"].tolist()
    assert resumed["learning_rate"].tolist() == history["learning_rate"].tolist()
    for value, other in zip(whole.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(value, other, rtol=0.05, atol=5e-3)


def test_what_changes_on_the_host_is_not_recorded(tmp_path: Path, store: Any) -> None:  # noqa: F811
    method, source, views, settings = parts_of("byol_a", store)
    method.graphable = False
    with source:
        run = Training(method, source, views, settings, tmp_path, 0, source.device)
        run.resume()
        assert run.update == run._update


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("name", [*SMALL, "distillation", "supervised"])
def test_the_host_never_waits_in_a_step(
    tmp_path: Path,
    store: Any,  # noqa: F811
    name: str,
    precision: str,
) -> None:
    changes = {"precision": precision, "gradient_clip": 1.0}
    method, source, views, settings = parts_of(name, store, **changes)
    with source:
        run = Training(method, source, views, settings, tmp_path, 0, source.device)
        run.resume()
        run.start_epoch(0)
        for _ in range(4):  # the last one is recorded, where that is possible
            run.train_step()
        with nothing_waits():
            run.train_step()


def test_the_host_does_not_wait_for_crops_from_the_host(tmp_path: Path, store: Any) -> None:  # noqa: F811
    method, source, views, settings = parts_of("cola", store, precision="bf16", accumulate=2)
    with source:
        run = Training(method, source, views, settings, tmp_path, 0, source.device)
        run.train_step()
        with nothing_waits():
            run.train_step()


@several
@pytest.mark.parametrize("sync", [True, False])
def test_two_gpus_end_with_the_same_weights(tmp_path: Path, store: Any, sync: bool) -> None:  # noqa: F811
    in_processes(train_on_each, (tmp_path, store, sync), count=2, device="cuda")
    first, second = (torch.load(tmp_path / f"weights{gpu}.pt") for gpu in (0, 1))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
