"""Mistakes are refused before any work, in words that name the value, the rule and the remedy."""

import errno
import os
import signal
import subprocess
import time

import pytest
from click.testing import CliRunner
from kedro.io import DatasetError
from unfused.mistakes import explanation

from unfused.cli import STOPPED, run
from unfused.core.repeats import repeat_named
from unfused.data.table import ManifestError, read_table


def expensive(project):
    """Return what was rendered or trained."""
    return [*project.data.glob("01_raw/*"), *project.data.glob("06_models/*/*")]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"teacher": "decarr"}, ["'decarr'", "choose from", "decar"]),
        ({"encoder.name": "resnet"}, ["'resnet' is no encoder", "audio_ntt"]),
        ({"encoder.settings.dd": 3}, ["'dd'", "did you mean 'd'"]),
        ({"unfused.distillation.alfa": 0.5}, ["unfused.distillation.alfa", "'alpha'"]),
        ({"unfused.distillation.alpha": 1.5}, ["alpha", "1.5", "less than or equal to 1"]),
        ({"unfused.distillation.cut": "block9"}, ["distillation.cut='block9'", "'block3'"]),
        ({"unfused.distillation.blocks": ["fc2"]}, ["distillation.blocks='fc2'", "'block3'"]),
        ({"evaluation.cuts": ["fc3"]}, ["evaluation.cuts='fc3'", "'fc2'"]),
        ({"front_end.n_mels": 80}, ["n_mels=80", "encoder.settings.n_mels=80"]),
        ({"evaluation.supervised.encoders": ["unfuse"]}, ["'unfuse'", "choose from", "'unfused'"]),
        ({"unfused.pseudo_labels.controls": ["shuffle"]}, ["controls", "'shuffled'", "shuffle"]),
        ({"methods.decar.settings.n_proto": 3}, ["'n_proto'", "did you mean 'n_prototypes'"]),
        ({"methods.decar.training.epochs": 3}, ["exactly one of epochs and clip_updates"]),
        ({"run.device": "gpu"}, ["device", "'gpu'", "'cuda'"]),
        ({"run.seeds": [0, 0]}, ["seeds=[0, 0]", "twice"]),
        ({"run.sedes": [0]}, ["'sedes'", "did you mean 'seeds'"]),
        ({"fesh": True}, ["fesh is no parameter", "did you mean 'fresh'"]),
        ({"select.task": "x"}, ["select.task is no parameter", "did you mean 'tasks'"]),
        ({"select.tasks": "nope"}, ["select.tasks", "'nope'", "instrument_family"]),
        ({"select.tasks": "own_data"}, ["'own_data'", "no audio", "tasks.own_data.audio"]),
        ({"tasks.evaluation.audio": "x"}, ["tasks.evaluation", "reserved", "choose another"]),
        ({"tasks.decar.audio": "x"}, ["methods.decar", "taken by tasks.decar", "choose another"]),
        ({"tasks.My-Task.audio": "x"}, ["'My-Task'", "a-z, 0-9 and _"]),
        (
            {"unfused.distilation.cut": "fc1"},
            ["unfused.distilation is no parameter", "did you mean 'distillation'"],
        ),
        ({"unfused.pseudo_labels": 3}, ["unfused.pseudo_labels=3", "n_clusters"]),
        ({"pools.pool.audoi": "x"}, ["pools.pool.audoi", "did you mean 'audio'"]),
        ({"tasks.own_data.colums.label": "x"}, ["tasks.own_data.colums", "'columns'"]),
        (
            {"methods.other": {"name": "decar", "training": {"epoch": 3}}},
            ["methods.other.training.epoch is no parameter", "did you mean 'epochs'"],
        ),
        ({"demo.n_sessions": 3}, ["n_sessions", "3", "4"]),
        ({"extraction.n_jobs": 0}, ["n_jobs=0", "-1"]),
        ({"front_end.f_max": 9000}, ["f_max=9000", "8000"]),
        ({"methods.decar.name": "decarr"}, ["'decarr'", "did you mean 'decar'"]),
        ({"unfused.distillation.cut": "blok3"}, ["did you mean 'block3'"]),
        ({"evaluation.supervised.encoders": ["unfuse"]}, ["did you mean 'unfused'"]),
        ({"select.methods": "decr"}, ["select.methods", "did you mean 'decar'"]),
        *(
            ({group: 3}, [f"{group}=3 is a group of parameters"])
            for group in ("run", "select", "tasks", "pools", "methods", "evaluation", "unfused")
        ),
        ({"tasks.own_data": 3}, ["tasks.own_data=3 is a group of parameters"]),
        ({"tasks.own_data.audio": True}, ["audio=True is true or false to YAML", "./True"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
@pytest.mark.filterwarnings("ignore:One or more dataset names")
def test_parameters(project, params, words):
    with pytest.raises(Exception, match=r"\w") as caught:
        project.run(**params)
    assert not [word for word in words if word not in str(caught.value)], caught.value
    assert not expensive(project)


@pytest.fixture
def folder(class_folders, tone, tmp_path):
    """Names that stand for folders and tables, in a folder with audio of one class."""
    for index in range(4):
        tone(tmp_path / "one class" / "a" / f"{index}.wav", 300, seconds=0.1)
    files = [f"one class/a/{index}.wav" for index in range(4)]
    (tmp_path / "no label.csv").write_text("path,kind\n" + "".join(f"{f},x\n" for f in files))
    (tmp_path / "one label.csv").write_text("path,label\n" + "".join(f"{f},x\n" for f in files))
    (tmp_path / "no path.csv").write_text("clip,label\n" + "".join(f"{f},x\n" for f in files))
    (tmp_path / "nothing").mkdir()
    (tmp_path / "good").symlink_to(class_folders)
    return tmp_path


@pytest.mark.parametrize(
    ("data", "params", "words"),
    [
        ("missing", {}, ["missing", "folder", "table"]),
        ("missing.csv", {}, ["missing.csv", "does not exist"]),
        ("nothing", {}, ["no audio", "nothing"]),
        ("one class", {}, ["only one class: a", "one folder per class"]),
        (
            "no label.csv",
            {},
            [
                *("no label.csv", "no labels", "columns path and label", "['path', 'kind']"),
                "--params tasks.own_data.columns.label=<column>",
            ],
        ),
        ("no path.csv", {}, ["no path.csv", "'path'", "clip"]),
        ("one label.csv", {}, ["only one class: x", "at least 2"]),
        ("good", {"unfused.pseudo_labels.n_clusters": 60}, ["n_clusters=60", "29", "lower"]),
        ("good", {"methods.decar.settings.n_prototypes": 60}, ["n_prototypes=60", "29", "lower"]),
    ],
)
def test_data(project, folder, data, params, words):
    with pytest.raises(Exception, match=r"\w") as caught:
        project.run("unfused", data=str(folder / data), **params)
    assert not [word for word in words if word not in str(caught.value)], caught.value
    assert not [file for file in expensive(project) if list(file.glob("*.pt"))]


def test_a_folder_that_cannot_be_written(project, class_folders, tmp_path):
    (tmp_path / "file").touch()
    project.data = tmp_path / "file" / "results"
    with pytest.raises(OSError, match=r"file/results.*cannot|cannot.*file/results") as caught:
        project.run(data=str(class_folders))
    assert "data_root" in str(caught.value)


def test_the_command_ends_with_the_message(project):
    process = project.start("--pipeline=unfused", "--params", "teacher=decarr")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    lines = output.splitlines()
    assert lines[-1].startswith("Error: teacher='decarr' is no configured method")
    assert len(lines) <= 3, output


@pytest.fixture
def command(project, monkeypatch):
    """``kedro run --env=test`` in this process."""
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("UNFUSED_TEST_DATA_ROOT", str(project.data))
    monkeypatch.delenv("UNFUSED_TRACEBACK", raising=False)
    return lambda *arguments: CliRunner().invoke(run, ["--env=test", *arguments])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--params=data=missing/folder"], 1, "missing/folder does not exist"),
        (["--params=unfused.pseudo_labels.n_cluster=4"], 1, "did you mean 'n_clusters'?"),
        (["--params=run.device=gpu"], 1, "run.device='gpu': Input should be 'auto', 'cuda'"),
        (["--params=run.sedes=1"], 1, "run: 'sedes' is no parameter"),
        (["--params=methods.decar.training.epochs=3"], 1, "decar.training: give exactly one of"),
        (["--params=data=2024"], 1, "audio=2024 is a number to YAML; write ./2024"),
        (["--pipeline=unfussed"], 1, "'unfussed' is no pipeline: choose from ['__default__', "),
        (["--pipeline=unfsed"], 1, "did you mean 'unfused'?"),
        (["--env=tst"], 1, "no such folder; choose from ['base', "),
        (["--env=tset"], 1, "did you mean 'test'?"),
        (["--params=teacher=decarr"], 1, "did you mean 'decar'?"),
        (["--params=select.tasks=instrument_famly"], 1, "did you mean 'instrument_family'?"),
        (["--params=run=3"], 1, "run=3 is a group of parameters: set one in it"),
        (["--params=methods=3"], 1, "methods=3 is a group of parameters: set one in it"),
        (["--nodes=nothing"], 1, "nodes named ['nothing']"),
        (["--params=data=my sounds, old"], 2, "a path with a comma goes into"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_mistake_ends_in_one_line(command, arguments, code, words):
    result = command(*arguments)
    assert result.exit_code == code
    last = result.output.splitlines()[-1]
    assert last.startswith("Error: ")
    assert words in last
    assert "Traceback" not in result.output
    assert "--from-nodes" not in result.output


def test_a_mistake_keeps_its_traceback_on_demand(command, monkeypatch):
    monkeypatch.setenv("UNFUSED_TRACEBACK", "1")
    result = command("--params=teacher=decarr")
    assert type(result.exception) is ValueError
    assert "Error: " not in result.output


def test_a_bug_keeps_its_traceback(command, monkeypatch):
    monkeypatch.setattr("unfused.data.manifest.scan_audio", lambda *_, **__: 1 / 0)
    result = command("--params=data=somewhere")
    assert type(result.exception) is ZeroDivisionError
    with pytest.raises(ValueError, match="invalid literal") as caught:
        repeat_named("seedX-fold0")  # Python raises it, not our code
    assert explanation(caught.value) is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_says_how_to_go_on(command, monkeypatch, request, number):
    def stopped(*_, **__):
        os.kill(os.getpid(), number)
        time.sleep(10)

    monkeypatch.setattr("unfused.data.manifest.scan_audio", stopped)
    if number == signal.SIGINT:  # a suite that runs in the background inherits SIGINT ignored
        previous = signal.signal(signal.SIGINT, signal.default_int_handler)
        request.addfinalizer(lambda: signal.signal(signal.SIGINT, previous))
    before = signal.getsignal(signal.SIGTERM)
    result = command("--params=data=somewhere")
    assert result.exit_code == 128 + number
    assert result.output.splitlines()[-1] == STOPPED
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_full_disk_names_the_dataset():
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    try:
        try:
            raise DatasetError("Failed while saving data to dataset T(filepath=f)") from full
        except DatasetError as inner:
            raise DatasetError(f"birds.splits: {inner}") from inner
    except DatasetError as error:
        words = explanation(error)
    assert words is not None
    assert words.startswith("birds.splits: [Errno 28]")
    assert "free some space, then run the same command again" in words


def test_a_full_disk_that_numpy_met():
    words = explanation(OSError("problem writing element 153600 to file"))
    assert words is not None
    assert words.startswith("the disk is full (problem writing element 153600 to file): free some")
    assert explanation(OSError("something else")) is None


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC])
def test_a_disk_that_takes_nothing_ends_the_run_first(command, monkeypatch, number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("unfused.hooks.tempfile.TemporaryFile", refuse)
    result = command("--params=data=somewhere")
    assert result.exit_code == 1
    assert result.output.splitlines()[-1].startswith(
        "Error: results cannot be written to data_root"
    )
    assert os.strerror(number) in result.output


@pytest.mark.parametrize("code", ["utf-16-le", "utf-16-be"])
def test_a_table_without_a_byte_order_mark(tmp_path, code):
    (tmp_path / "list.csv").write_bytes("path,label\na.wav,ü\n".encode(code))
    assert read_table(tmp_path / "list.csv")["label"].tolist() == ["ü"]


def test_a_table_that_names_a_column_twice(tmp_path):
    (tmp_path / "list.csv").write_text("path,label,label\na.wav,x,y\n")
    with pytest.raises(ManifestError, match=r"list\.csv.*'label'.*twice"):
        read_table(tmp_path / "list.csv")


def test_a_path_with_a_comma(command, monkeypatch, tmp_path):
    monkeypatch.setenv("UNFUSED_AUDIO", str(tmp_path / "rain, wind"))
    assert "rain, wind does not exist" in command().output


def test_make_hands_a_path_over_whole(project_root):
    command = ["make", "--no-print-directory", "--assume-old=.venv/demo"]
    command += ["RUN=printenv UNFUSED_AUDIO;:", "unfused"]
    done = subprocess.run(
        [*command, "DATA=rain, 'wind'"],
        cwd=project_root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "rain, 'wind'\n", done.stderr
