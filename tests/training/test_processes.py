"""Processes that are started for a training: they end together, and training goes on."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from functools import partial
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from unfused.core.errors import UserError
from unfused.data.log_mel import FrontEnd
from unfused.data.store import LogMelStore
from unfused.encoders import load_encoder
from unfused.tasks.corpus import Corpus
from unfused.training import precision, processes
from unfused.training.pretraining import estimator
from unfused.training.processes import ProcessFailed, in_processes, number_of_processes

from ..losses.two_processes import in_two_processes
from .workers import STEPS, WAITS, fails, fails_strangely, log, pid, train


@pytest.fixture
def start(monkeypatch: Any) -> Any:
    """Start processes that need not import torch; the last test's do, as users' do."""
    forked = partial(processes.start_processes, start_method="forkserver")
    monkeypatch.setattr(processes, "start_processes", forked)
    return lambda function, *given: in_processes(function, given, count=2, device="cpu")


def stop_when_both_wait(folder: Path) -> None:
    """Send this process SIGTERM as soon as two others have said that they wait for it."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if len(list(folder.glob(f"*{WAITS}"))) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            return
        time.sleep(0.02)


def children() -> list[str]:
    pool = in_two_processes(pid)  # of the tests themselves
    return [child.name for child in active_children() if child.pid not in pool]


def test_stopped_then_killed_a_run_goes_on_and_ends_the_same(start: Any, tmp_path: Path) -> None:
    """As in one process: stopped by SIGTERM, then with one process killed, then to its end."""
    folder = tmp_path / "stopped"
    told = threading.Thread(target=stop_when_both_wait, args=(folder,), daemon=True)
    told.start()
    with pytest.raises(SystemExit) as end:
        start(train, folder, 5)
    told.join()
    assert end.value.code == 128 + signal.SIGTERM
    assert torch.load(folder / "checkpoint.pt")["step"] == 6
    assert not children()
    with pytest.raises(ProcessFailed, match=r"process 1 of 2 was killed by SIGKILL.*goes on"):
        start(train, folder, None, STEPS - 1)
    assert torch.load(folder / "checkpoint.pt")["step"] == STEPS - 1
    assert not children()
    resumed = in_two_processes(train, folder)
    whole = in_two_processes(train, tmp_path / "whole")
    for state in (*resumed, whole[1]):
        for name, value in whole[0].items():
            assert torch.equal(value, state[name]), name


def test_an_error_of_one_ends_both_and_keeps_its_words(start: Any, caplog: Any) -> None:
    with (
        caplog.at_level(logging.INFO),
        pytest.raises(UserError, match="batch_size=1 must be at least 2") as caught,
    ):
        start(fails)
    assert "Process 1" in str(caught.value.__cause__)
    assert "Traceback" in str(caught.value.__cause__)
    assert [r.getMessage() for r in caplog.records if r.name == log.name] == ["process 0 starts"]
    assert not children()


def test_an_error_that_cannot_travel_is_shown_with_its_traceback(start: Any) -> None:
    with pytest.raises(ProcessFailed, match="ended with 1") as caught:
        start(fails_strangely)
    assert "fails_strangely" in str(caught.value.__cause__)
    assert not children()


def test_an_encoder_is_pretrained_in_two_processes(tmp_path: Path, caplog: Any) -> None:
    rng = np.random.default_rng(0)
    names = [f"{number:02d}" for number in range(16)]
    mels = {name: rng.normal(-6, 3, (110, 16)).astype(np.float32) for name in names}
    store = LogMelStore.write(tmp_path / "store", FrontEnd(n_mels=16), mels)
    clips = pd.DataFrame({"corpus": "toy", "clip_id": names, "digest": names})
    model = estimator("cola")(
        encoder_settings={"d": 16, "n_mels": 16, "channels": 8}, projector_dim=8,
        epochs=2, batch_size=8, log_every=1, precision="fp32",
        device="cpu", processes=2, folder=tmp_path / "models",
    )  # fmt: skip
    with caplog.at_level(logging.INFO):
        model.fit(Corpus.of(store, clips))
    assert "4 steps of 8 clips" in caplog.text
    assert "2 processes" in caplog.text
    assert len(model.history_) == 4
    assert not (model.folder_ / "checkpoint.pt").exists()
    assert load_encoder(model.folder_).provenance["method"] == "cola"


@pytest.mark.parametrize(
    ("asked", "device", "n_gpus", "number"),
    [
        (1, "cpu", 0, 1),
        (3, "cpu", 0, 3),
        ("auto", "cpu", 4, 1),
        ("auto", "auto", 4, 4),
        ("auto", "auto", 0, 1),
        (2, "cuda", 4, 2),
    ],
)
def test_how_many(monkeypatch: Any, asked: Any, device: str, n_gpus: int, number: int) -> None:
    pretend(monkeypatch, n_gpus)
    assert number_of_processes(asked, device) == number


@pytest.mark.parametrize(
    ("asked", "n_gpus", "words"),
    [(0, 0, "processes=0 must be at least 1"), (3, 2, "processes=3 .*one GPU each.*are 2")],
)
def test_how_many_at_most(monkeypatch: Any, asked: int, n_gpus: int, words: str) -> None:
    pretend(monkeypatch, n_gpus)
    with pytest.raises(ValueError, match=words):
        number_of_processes(asked, "auto")


def pretend(monkeypatch: Any, n_gpus: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n_gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(precision.torch.backends.mps, "is_available", lambda: False)
