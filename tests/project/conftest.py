"""The project as its users run it: one finished run for all tests, and small runs of their own."""

import fcntl
import json
import logging
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from io import StringIO
from pathlib import Path
from unittest import mock
from zlib import crc32

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from omegaconf import OmegaConf

from .forked import Forked

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "DO_NOT_TRACK": "1", "TQDM_DISABLE": "1"}
TINY = {  # a study of own data in seconds
    "unfused.pseudo_labels.controls": [],
    "methods.decar.training.clip_updates": 32,
    "methods.decar.training.batch_size": 8,
    "methods.distilled.training.clip_updates": 32,
    "methods.distilled.training.batch_size": 8,
    "unfused.distillation.training.clip_updates": 16,
    "unfused.distillation.training.batch_size": 8,
    "evaluation.read_outs": [{"taps": ["block3"]}],
    "evaluation.joined": [],
    "evaluation.protocols": ["linear_probe"],  # the finished run has neighbours too
    "evaluation.supervised.fine_tuning.clip_updates": 16,
    "evaluation.supervised.fine_tuning.batch_size": 8,
    "evaluation.supervised.from_scratch.clip_updates": 16,
    "evaluation.supervised.from_scratch.batch_size": 8,
}


@dataclass
class Project:
    """The project with a folder of results of its own."""

    root: Path
    data: Path
    output: str = ""
    params: dict = field(default_factory=dict)

    def start(self, *arguments):
        """Start ``kedro run --env=test`` as a process of its own."""
        command = [sys.executable, "-W", "default::DeprecationWarning:__main__", "-m", "kedro"]
        return subprocess.Popen(
            [*command, "run", "--env=test", *arguments],
            cwd=self.root,
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def fork(self, *arguments):
        """Start the same where nothing need be imported any more."""
        said = Path(tempfile.mkstemp(".log", dir=self.data.parent)[1])
        return Forked(["run", "--env=test", *arguments], self.root, self.environment, said)

    @property
    def environment(self):
        """What its processes find in their environment."""
        return {**ENVIRONMENT, "UNFUSED_TEST_DATA_ROOT": str(self.data)}

    @contextmanager
    def session(self, env="test", conf=None, **params):
        """Open a session in this process; dotted parameter names nest."""
        variables = {"UNFUSED_TEST_DATA_ROOT": str(self.data)}
        if env in ("results", "lape", "selfie_ablation"):
            variables["UNFUSED_DATA"] = "some/folder"
        nested = nest({**self.params, **params})
        options = {"env": env, "conf_source": conf, "runtime_params": nested}
        with (
            mock.patch.dict(os.environ, variables),
            KedroSession.create(self.root, **options) as session,
        ):
            yield session

    def run(self, pipeline="unfused", to=None, conf=None, **params):
        """Run a pipeline, or what the datasets ``to`` need of it; return the project's log."""
        log, n_threads = Lines(), torch.get_num_threads()
        torch.set_num_threads(1)
        logging.getLogger("unfused").addHandler(log)
        try:
            with self.session(conf=conf, **params) as session:
                session.run(pipeline_names=[pipeline], to_outputs=to)
        finally:
            logging.getLogger("unfused").removeHandler(log)
            torch.set_num_threads(n_threads)
        return "\n".join(log.lines)

    def folder_of(self, name):
        """Return the folder of the newest output of this name, under the models."""
        found = [
            path for path in (self.data / "06_models").glob(f"{name}-*") if _is_marked(path, name)
        ]
        assert found, name
        return max(found, key=lambda path: path.stat().st_mtime_ns)

    def outputs(self):
        """Return when each output was finished, by the path of its folder."""
        records = self.data.glob("0[146]_*/**/made_of.json")  # elsewhere are copies
        found = {record.parent: record.stat().st_mtime_ns for record in records}
        found = {path: time for path, time in found.items() if not found.keys() & {*path.parents}}
        return {str(path.relative_to(self.data)): time for path, time in found.items()}

    def built_since(self, before):
        """Return the names, without marks, of the outputs that were built since."""
        now = self.outputs().items()
        return {
            re.sub(r"(-[0-9a-f]{12})+$", "", name) for name, time in now if before.get(name) != time
        }

    def table(self, name):
        """Return a Parquet file under the results."""
        return pd.read_parquet(self.data / name)

    def copy(self, folder):
        """Return the same project with a copy of its results."""
        shutil.copytree(self.data, folder)
        return self.copy_settings(folder)

    def copy_settings(self, folder):
        """Return the same project without its results."""
        return Project(self.root, folder, params=dict(self.params))


class Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def _is_marked(path, name):
    return re.fullmatch(re.escape(Path(name).name) + r"-[0-9a-f]{12}", path.name) is not None


def nest(params):
    """Return ``{"a.b": 1}`` as ``{"a": {"b": 1}}``."""
    nested = {}
    for name, value in params.items():
        *parents, last = name.split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return nested


@pytest.fixture(scope="session")
def kedro_project(project_root):
    """The project; a text of its configuration, which every session reads, is parsed once."""
    bootstrap_project(project_root)
    load = OmegaConf.load
    parsed = cache(lambda text: pickle.dumps(load(StringIO(text))))
    with mock.patch.object(OmegaConf, "load", lambda file: pickle.loads(parsed(file.read()))):
        yield project_root


@pytest.fixture(scope="session")
def untouched_project(kedro_project, tmp_path_factory):
    """The project as it is configured, to look at and not to run."""
    return Project(kedro_project, tmp_path_factory.mktemp("untouched"))


@pytest.fixture
def project(kedro_project, tmp_path):
    """The project with an empty folder of results."""
    return Project(kedro_project, tmp_path / "results", params=dict(TINY))


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """Make a folder once for all processes of the suite: the first that asks makes it, others wait.

    ``once(name, make)`` returns the folder, and what ``make(folder)`` had returned, by way of JSON.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent

    def shared(name, make):
        folder, facts = base / name, base / f"{name}.json"
        with (base / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not facts.exists():
                shutil.rmtree(folder, ignore_errors=True)  # another process failed in it
                folder.mkdir()
                facts.write_text(json.dumps(make(folder)), encoding="utf-8")
        return folder, json.loads(facts.read_text(encoding="utf-8"))

    return shared


@pytest.fixture(scope="session")
def finished(kedro_project, once):
    """The one full run: ``kedro run --env=test --pipelines=unfused``; leave its files alone."""

    def make(folder):
        process = Project(kedro_project, folder / "results").start("--pipelines=unfused")
        try:
            output, _ = process.communicate(timeout=900)
        finally:
            process.kill()
        assert process.returncode == 0, output
        return {"output": output}

    folder, facts = once("finished", make)
    return Project(kedro_project, folder / "results", **facts)


@pytest.fixture(scope="session")
def site(finished, once):
    """The site of Kedro-Viz, built beside the project, whose own build stays; leave it alone."""

    def make(folder):
        shutil.copy(finished.root / "pyproject.toml", folder)
        (folder / "src").mkdir()
        for name in ("conf", "src/unfused"):
            (folder / name).symlink_to(finished.root / name)
        done = subprocess.run(
            [sys.executable, "-m", "kedro", "viz", "build", "--include-previews"],
            cwd=folder,
            env={**os.environ, "KEDRO_ENV": "test", "UNFUSED_TEST_DATA_ROOT": str(finished.data)},
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert (folder / "build" / "index.html").is_file(), said
        assert "could not be previewed" not in said

    return once("site", make)[0] / "build"


@pytest.fixture(scope="session")
def own_data_run(kedro_project, class_folders, once):
    """A finished study of own data, tiny; leave its files alone."""
    params = {**TINY, "data": str(class_folders)}

    def make(folder):
        return {"output": Project(kedro_project, folder / "results", params=params).run()}

    folder, facts = once("own data run", make)
    return Project(kedro_project, folder / "results", params=params, **facts)


@pytest.fixture
def heard_sigint():
    """A suite that runs in the background inherits SIGINT ignored, and so would its processes."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.fixture(scope="session")
def tone():
    """Write a noisy tone: ``tone(path, hertz)``; classes are told apart by their pitch."""

    def write(path, hertz, seconds=0.5, rate=16000):
        rng = np.random.default_rng(crc32(str(path.name).encode()))
        time_axis = np.arange(int(seconds * rate)) / rate
        wave = 0.3 * np.sin(2 * np.pi * hertz * rng.uniform(0.97, 1.03) * time_axis)
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wave + 0.02 * rng.standard_normal(len(wave)), rate)
        return path

    return write


@pytest.fixture(scope="session")
def class_folders(tone, once):
    """Three classes of ten clips in four formats, and eight clips without a label."""
    formats = ["wav", "flac", "ogg", "mp3"]

    def make(folder):
        sounds = folder / "Büro sounds"
        for hertz, label in ((300, "low"), (900, "mid"), (2700, "high")):
            for index in range(10):
                tone(sounds / label / f"{label}-{index}.{formats[index % 4]}", hertz)
        for index in range(8):
            name = f"unlabelled/some-{index}.{formats[index % 4]}"
            tone(sounds / name, 300 * 3 ** (index % 3))

    return once("own data", make)[0] / "Büro sounds"
