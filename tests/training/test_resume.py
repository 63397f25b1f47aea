"""A stopped run, started again, ends with the weights of one that never stopped."""

import json
import os
import signal
import threading
import time
from multiprocessing import get_context

import pytest
import torch

from unfused.training.checkpoint import CheckpointError

from .toy_training import Toy, settings_for, train, train_until_killed

TOTAL = 9  # 3 epochs of 3 steps


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return {
        name: train(tmp_path_factory.mktemp(name), settings=settings_for(optimiser=name))
        for name in ("sgd", "adam", "adamw", "lars")
    }


def assert_same_weights(method, other):
    state, expected = method.state_dict(), other.state_dict()
    assert state.keys() == expected.keys()
    for name in state:
        assert torch.equal(state[name], expected[name]), name


def without_speed(history):
    return history.drop(columns="clips_per_second")


@pytest.mark.parametrize("stop_at", range(TOTAL))
def test_stopped_by_an_exception_at_any_step(tmp_path, uninterrupted, stop_at):
    settings = settings_for(optimiser="adamw")
    with pytest.raises(RuntimeError, match="power cut"):
        train(tmp_path, Toy(stop_at), settings)
    method, history = train(tmp_path, settings=settings)
    expected, expected_history = uninterrupted["adamw"]
    assert_same_weights(method, expected)
    assert without_speed(history).equals(without_speed(expected_history))


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "lars"])
def test_with_every_optimiser(tmp_path, uninterrupted, optimiser):
    settings = settings_for(optimiser=optimiser)
    with pytest.raises(RuntimeError):
        train(tmp_path, Toy(4), settings)
    method, _ = train(tmp_path, settings=settings)
    assert_same_weights(method, uninterrupted[optimiser][0])


def test_stopped_twice(tmp_path, uninterrupted):
    for stop_at in (2, 5):
        with pytest.raises(RuntimeError):
            train(tmp_path, Toy(stop_at))
    assert_same_weights(train(tmp_path)[0], uninterrupted["adamw"][0])


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_saves_the_step_it_comes_in(tmp_path, uninterrupted, name):
    settings = settings_for(checkpoint_seconds=1e6)
    with pytest.raises(KeyboardInterrupt if name == "SIGINT" else SystemExit):
        train(tmp_path, Toy(4, name), settings)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 5
    method, history = train(tmp_path, settings=settings)
    assert_same_weights(method, uninterrupted["adamw"][0])
    assert without_speed(history).equals(without_speed(uninterrupted["adamw"][1]))


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_in_the_last_step_is_not_lost(tmp_path, uninterrupted, name):
    with pytest.raises(KeyboardInterrupt if name == "SIGINT" else SystemExit):
        train(tmp_path, Toy(TOTAL - 1, name), settings_for(checkpoint_seconds=1e6))
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == TOTAL
    method, _ = train(tmp_path, Toy(stop_at=0))  # would stop if it made a step
    assert_same_weights(method, uninterrupted["adamw"][0])


@pytest.mark.parametrize("seconds", [0, 1e6])
def test_killed(tmp_path, uninterrupted, seconds):
    """With seconds=1e6 there is no checkpoint yet, but rows of metrics that must go."""
    killed = get_context("forkserver").Process(
        target=train_until_killed, args=(tmp_path, 7, seconds)
    )
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert (tmp_path / "checkpoint.pt").exists() == (seconds == 0)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "lo')  # the line it was writing
    method, history = train(tmp_path)
    assert_same_weights(method, uninterrupted["adamw"][0])
    assert without_speed(history).equals(without_speed(uninterrupted["adamw"][1]))


def test_a_finished_run_is_not_trained_again(tmp_path, uninterrupted):
    train(tmp_path)
    method, history = train(tmp_path, Toy(stop_at=0))  # would raise if it made a step
    assert_same_weights(method, uninterrupted["adamw"][0])
    assert history["step"].iloc[-1] == TOTAL


def test_metrics_are_cut_back_to_the_checkpoint(tmp_path):
    with pytest.raises(RuntimeError):
        train(tmp_path, Toy(5))
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert saved["step"] == 5
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 6, "loss": 123.0}) + "\n")
    _, history = train(tmp_path)
    assert history["step"].tolist() == [2, 4, 6, 8, 9]
    assert 123.0 not in history["loss"].tolist()


@pytest.mark.parametrize("damage", ["digit", "byte", "cut", "deleted"])
def test_metrics_that_are_not_what_was_written_are_refused(tmp_path, damage):
    with pytest.raises(RuntimeError):
        train(tmp_path, Toy(5))
    file = tmp_path / "metrics.jsonl"
    whole = file.read_bytes()
    if damage == "deleted":
        file.unlink()
    else:
        changed = {"digit": whole.replace(b"2", b"3", 1), "byte": b"\xff" + whole[1:]}
        file.write_bytes({**changed, "cut": whole[:-9]}[damage])
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl.*delete checkpoint\.pt"):
        train(tmp_path)
    (tmp_path / "checkpoint.pt").unlink()
    train(tmp_path)


class Clustering(Toy):
    """Gets a signal while it makes an epoch's clusters, which take for ever."""

    def start_epoch(self, epoch, embed, seed):
        if epoch == 1:
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            time.sleep(60)
        return super().start_epoch(epoch, embed, seed)


def test_a_signal_does_not_wait_for_an_epochs_start(tmp_path, uninterrupted):
    Clustering.__name__ = Toy.__name__  # a checkpoint knows its method
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, Clustering(None))
    assert time.monotonic() - begin < 30
    method, history = train(tmp_path)
    assert_same_weights(method, uninterrupted["adamw"][0])
    assert without_speed(history).equals(without_speed(uninterrupted["adamw"][1]))


def test_logging_and_saving_do_not_change_the_weights(tmp_path, uninterrupted):
    method, history = train(tmp_path, settings=settings_for(log_every=4, checkpoint_seconds=1e6))
    assert_same_weights(method, uninterrupted["adamw"][0])
    assert history["step"].tolist() == [4, 8, 9]
