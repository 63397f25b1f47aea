"""A run that is killed and started again ends with the same bytes as one that never stopped."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from safetensors import safe_open

from unfused.cli import STOPPED, RunCommand
from unfused.core.errors import STOPPING
from unfused.core.outputs import RECORD, OutputFolder

TRAINING = {
    "methods.decar.training.clip_updates": 200,
    "methods.decar.training.batch_size": 4,
    "methods.decar.training.log_every": 1,
    "methods.decar.training.checkpoint_seconds": 0.1,
    "extraction.clips_per_shard": 2,
}
TEACHER = "06_models/decar/decar-seed0-*"


def weights(file):
    with safe_open(file, framework="np") as tensors:
        return {name: tensors.get_tensor(name).tobytes() for name in tensors.keys()}  # noqa: SIM118


def kill(project, params, number, when):
    """Start the teacher's pipeline and send it a signal as soon as ``when()`` holds."""
    text = ",".join(f"{name}={value}" for name, value in params.items())
    process = project.fork("--pipelines=decar", "--params", text)
    deadline = time.monotonic() + 300
    while not when() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(number)
    output, _ = process.communicate(timeout=300)
    assert process.returncode not in (0, 1), output
    assert output.endswith(f"{STOPPED}\n") == (number != signal.SIGKILL)
    return process.returncode


@pytest.fixture
def recordings(tone, tmp_path):
    """Long enough to be interrupted."""
    for index in range(40):
        hertz, label = ((300, "low"), (2000, "high"))[index % 2]
        tone(tmp_path / "audio" / label / f"{index}.wav", hertz, seconds=4.0, rate=22050)
    return tmp_path / "audio"


def test_a_killed_run_goes_on_where_it_was(project, recordings, tmp_path):
    project.params = {"data": str(recordings), **TRAINING}
    whole = project.copy_settings(tmp_path / "uninterrupted")
    whole.run("decar")

    def found(pattern):
        return sorted(project.data.glob(pattern))

    def steps(n_rows):
        files = found(f"{TEACHER}/metrics.jsonl")
        return bool(files) and files[0].read_text().count("\n") >= n_rows

    stores = "04_feature/audio/log_mels-*"
    kill(project, project.params, signal.SIGKILL, lambda: len(found(f"{stores}/*.npy")) >= 3)
    assert not found(f"{stores}/{RECORD}")
    assert not found(TEACHER)
    code = kill(project, project.params, signal.SIGTERM, lambda: steps(3))
    assert code == 128 + signal.SIGTERM  # it ended by itself, after a checkpoint
    assert found(f"{TEACHER}/checkpoint.pt")
    kill(project, project.params, signal.SIGKILL, lambda: steps(10))
    assert not found(f"{TEACHER}/{RECORD}")
    output = project.run("decar")
    assert "resumed decar/decar-seed0" in output
    assert "resuming at step" in output
    (teacher,) = found(f"{TEACHER}/encoder.safetensors")
    assert weights(teacher) == weights(whole.data / teacher.relative_to(project.data))
    for file in found(f"{stores}/*.npy"):
        assert file.read_bytes() == (whole.data / file.relative_to(project.data)).read_bytes()
    history = "07_model_output/decar/history.parquet"
    for column in ("step", "loss"):
        assert project.table(history)[column].equals(whole.table(history)[column])


EXTRACTION = {"extraction.n_jobs": 2, "extraction.clips_per_shard": 1}
SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture(scope="module")
def long_recordings(tmp_path_factory):
    """More than an hour, which is worth worker processes."""
    folder = tmp_path_factory.mktemp("long")
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 8000 * 190)
    for index in range(20):
        (folder / "ab"[index % 2]).mkdir(exist_ok=True)
        file = folder / "ab"[index % 2] / f"{index}.wav"
        soundfile.write(file, np.roll(noise, index), 8000, subtype="PCM_U8")
    return folder


@pytest.mark.usefixtures("heard_sigint")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_an_extraction_with_its_workers(project, long_recordings, number):
    project.params = {"data": str(long_recordings), **EXTRACTION}
    text = ",".join(f"{name}={value}" for name, value in project.params.items())
    process = project.start("--pipelines=data_engineering", "--params", text)
    stores = project.data / "04_feature"
    memory = set(SHARED_MEMORY.glob("joblib*"))
    wait_for(lambda: any(stores.rglob("shard-*.npy")) or process.poll() is not None)
    workers = descendants(process.pid)
    process.send_signal(number)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 128 + number
    assert output.endswith(f"{STOPPED}\n")
    assert len(workers) >= 2
    wait_for(lambda: not any(map(is_alive, workers)))
    assert not [path for path in project.data.rglob("*") if path.suffix in (".tmp", ".lock")]
    assert not list(project.data.glob(".running*"))
    assert set(SHARED_MEMORY.glob("joblib*")) <= memory
    assert len(list(stores.rglob("shard-*.npy"))) < 20  # it did not come to its end first
    project.params["extraction.n_jobs"] = 1  # here, where everything is imported
    assert "resumed" in project.run("data_engineering")


def wait_for(condition):
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def descendants(process):
    """Return the ids of all processes below one."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True)
    above = dict(map(int, line.split()) for line in listed.stdout.splitlines())
    found = [process]
    for parent in found:
        found += [child for child, its in above.items() if its == parent]
    return found[1:]


def is_alive(process):
    listed = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True
    )
    return bool(listed.stdout.strip()) and not listed.stdout.startswith("Z")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_whose_exception_is_lost_still_decides_the_exit_status(tmp_path, name):
    """As where C calls Python: the next thing that would be declared whole ends the run."""

    def run(conf_source):
        with suppress(KeyboardInterrupt, SystemExit):
            os.kill(os.getpid(), getattr(signal, name))
            time.sleep(5)
        OutputFolder(tmp_path).built("a", {}, lambda path: None)

    command = RunCommand("run", callback=run, params=[click.Option(["--conf-source"])])
    done = CliRunner().invoke(command, ["--conf-source", "conf"])
    assert done.exit_code == 128 + getattr(signal, name)
    assert not list(tmp_path.rglob(RECORD))
    STOPPING.clear()
