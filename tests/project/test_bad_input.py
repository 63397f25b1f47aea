"""Mistakes are refused before any work, in words that name the value, the rule and the remedy."""

import errno
import os
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
from click.testing import CliRunner
from kedro.io import DatasetError

from unfused.cli import STOPPED, run, words_of, words_say_it
from unfused.core.errors import STOPPING, UserError
from unfused.core.repeats import repeat_named
from unfused.data.table import ManifestError, read_table
from unfused.training.loop import TrainingDiverged
from unfused.training.processes import ProcessFailed


def expensive(project):
    """Return what was rendered or trained."""
    return [*project.data.glob("01_raw/*"), *project.data.glob("06_models/*/*")]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"teacher": "decarr"}, ["teacher", "decarr", "'decar'"]),
        ({"encoder.name": "resnet"}, ["resnet", "audio_ntt"]),
        ({"encoder.settings.dd": 3}, ["'dd'", "'d'"]),
        ({"unfused.distillation.alfa": 0.5}, ["unfused.distillation.alfa", "'alpha'"]),
        ({"unfused.distillation.alpha": 1.5}, ["alpha", "1.5"]),
        ({"unfused.distillation.cut": "blok3"}, ["distillation.cut", "blok3", "'block3'"]),
        ({"unfused.distillation.blocks": ["fc2"]}, ["distillation.blocks", "fc2", "'block3'"]),
        ({"evaluation.read_outs": [{"taps": ["fc3"]}]}, ["evaluation.read_outs", "fc3", "'fc2'"]),
        ({"front_end.n_mels": 80}, ["n_mels=80", "encoder.settings.n_mels"]),
        ({"evaluation.supervised.encoders": ["unfuse"]}, ["unfuse", "'unfused'"]),
        (
            {"evaluation.read_outs": [{"statistic": ["mean"]}]},
            ["read_outs.statistic", "'statistics'"],
        ),
        ({"evaluation.read_outs": [{"taps": "fc2"}]}, ["evaluation.read_outs.taps", "'fc2'"]),
        ({"evaluation.read_outs": [{"segments": "3"}]}, ["read_outs.segments", "'3'", "integer"]),
        (
            {"evaluation.read_outs": [{"statistics": ["median"]}]},
            ["read_outs", "median", "'delta'"],
        ),
        ({"unfused.pseudo_labels.read_out": {"taps": ["fc3"]}}, ["pseudo_labels.read_out", "fc3"]),
        ({"evaluation.label_efficiency.encoders": ["unfusd"]}, ["encoders", "unfusd", "'unfused'"]),
        ({"evaluation.label_efficiency.fine_tuning": ["decr"]}, ["fine_tuning", "decr", "'decar'"]),
        (
            {"teacher": "birdnet", "unfused.pseudo_labels.controls": ["random_encoder"]},
            ["random_encoder", "birdnet", "shuffled"],
        ),
        ({"unfused.pseudo_labels.controls": ["shuffle"]}, ["controls", "'shuffled'"]),
        ({"methods.decar.settings.n_proto": 3}, ["n_proto", "'n_prototypes'"]),
        ({"methods.decar.training.epochs": 3}, ["epochs", "clip_updates"]),
        ({"run.device": "gpu"}, ["device", "gpu", "'cuda'"]),
        ({"run.seeds": [0, 0]}, ["seeds=[0, 0]"]),
        ({"run.sedes": [0]}, ["run.sedes", "'seeds'"]),
        ({"fesh": True}, ["fesh", "'fresh'"]),
        ({"select.task": "x"}, ["select.task", "'tasks'"]),
        ({"select.tasks": "nope"}, ["select.tasks", "nope", "instrument_family"]),
        ({"select.tasks": "own_data"}, ["own_data", "tasks.own_data.audio"]),
        ({"tasks.evaluation.audio": "x"}, ["tasks.evaluation", "reserved"]),
        ({"tasks.decar.audio": "x"}, ["methods.decar", "tasks.decar"]),
        ({"methods.supervised_contrast.name": "decar"}, ["supervised_contrast", "baseline"]),
        ({"teachers.mfcc_statistics.kind": "untrained"}, ["mfcc_statistics", "baseline"]),
        ({"tasks.My-Task.audio": "x"}, ["My-Task", "a-z"]),
        ({"unfused.distilation.cut": "fc1"}, ["unfused.distilation", "'distillation'"]),
        ({"unfused.pseudo_labels": 3}, ["unfused.pseudo_labels=3", "n_clusters"]),
        ({"pools.pool.audoi": "x"}, ["pools.pool.audoi", "'audio'"]),
        ({"tasks.own_data.colums.label": "x"}, ["tasks.own_data.colums", "'columns'"]),
        (
            {"methods.other": {"name": "decar", "training": {"epoch": 3}}},
            ["methods.other.training.epoch", "'epochs'"],
        ),
        ({"demo.n_sessions": 3}, ["n_sessions", "3", "4"]),
        ({"demo.n_sounds": 0}, ["n_sounds=0", "1000000"]),
        ({"data": "synthetic"}, ["random sounds", "unlabelled=synthetic", "./synthetic"]),
        (
            {"tasks.mine.audio": "synthetic", "select.tasks": "mine"},
            ["tasks.mine", "without labels"],
        ),
        ({"pools.pool.audio": ["synthetic", "/x"]}, ["'pool'", "'synthetic'", "pools"]),
        ({"extraction.n_jobs": 0}, ["n_jobs=0", "-1"]),
        ({"front_end.f_max": 9000}, ["f_max=9000", "8000"]),
        ({"methods.decar.name": "decarr"}, ["decarr", "'decar'"]),
        ({"select.methods": "decr"}, ["select.methods", "'decar'"]),
        ({"model.task": "birds"}, ["model.task", "birds", "'instrument'"]),
        *(({group: 3}, [f"{group}=3"]) for group in ("run", "select", "tasks", "pools", "methods")),
        ({"tasks.own_data": 3}, ["tasks.own_data=3"]),
        (
            {"tasks.a.audio": "/x/birds", "tasks.b.audio": "/y/birds", "select.tasks": ["a", "b"]},
            ["tasks.a", "tasks.b", "'birds'", "tasks.b.title"],
        ),
        ({"tasks.own_data.audio": True}, ["audio=True", "./True"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_parameters(project, params, words):
    with pytest.raises(Exception, match=r"\w") as caught:
        project.run(**params)
    assert words_say_it(caught.value)
    assert not [word for word in words if word not in str(caught.value)], caught.value
    assert not expensive(project)


def test_a_short_name_in_a_file(project, tmp_path):
    shutil.copytree(project.root / "conf", tmp_path / "conf")
    file = tmp_path / "conf/test/parameters/mine.yml"
    file.write_text("device: cpu\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"--params device=\.\.\."):
        project.run(conf=str(tmp_path / "conf"))
    assert not expensive(project)


def test_a_value_for_a_later_stage(project):
    later = {"unfused.distillation.training.batch_size": -1, "methods.slicer.training.epochs": 0}
    with pytest.raises(UserError) as caught:
        project.run("data_engineering", **later)
    assert "unfused.distillation.training: batch_size=-1" in str(caught.value)
    assert "methods.slicer.training" in str(caught.value)
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
        ("missing", {}, ["missing"]),
        ("missing.csv", {}, ["missing.csv"]),
        ("nothing", {}, ["no audio", "nothing"]),
        ("one class", {}, ["one class", "a"]),
        ("no label.csv", {}, ["no label.csv", "'kind'", "columns.label"]),
        ("no path.csv", {}, ["no path.csv", "'path'", "clip"]),
        ("one label.csv", {}, ["x", "2"]),
        ("good", {"unfused.pseudo_labels.n_clusters": 60}, ["n_clusters=60", "29"]),
        ("good", {"methods.decar.settings.n_prototypes": 60}, ["n_prototypes=60", "29"]),
    ],
)
def test_data(project, folder, data, params, words):
    with pytest.raises(Exception, match=r"\w") as caught:
        project.run("unfused", data=str(folder / data), **params)
    assert words_say_it(caught.value)
    assert not [word for word in words if word not in str(caught.value)], caught.value
    assert not list(project.data.rglob("*.pt"))


def test_a_folder_that_cannot_be_written(project, class_folders, tmp_path):
    (tmp_path / "file").touch()
    project.data = tmp_path / "file" / "results"
    with pytest.raises(OSError, match="data_root") as caught:
        project.run(data=str(class_folders))
    assert "file/results" in str(caught.value)


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
        (["--params=data=missing/folder"], 1, "missing/folder"),
        (["--params=run.device=gpu"], 1, "'cuda'"),
        (["--params=methods.decar.training.epochs=3"], 1, "clip_updates"),
        (["--params=data=2024"], 1, "./2024"),
        (["--params=run_name=a/b"], 1, "a/b"),
        (["--pipelines=unfsed"], 1, "unfused"),
        (["--env=tst"], 1, "tst"),
        (["--params=teacher=decarr"], 1, "'decar'"),
        (["--nodes=nothing"], 1, "nothing"),
        (["--params=data=my sounds, old"], 2, "params"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_mistake_ends_in_words(command, arguments, code, words):
    result = command(*arguments)
    assert result.exit_code == code
    assert words in result.output[result.output.index("Error: ") :]
    assert "Traceback" not in result.output
    assert "--from-nodes" not in result.output


def test_the_command_itself_ends_in_words(project):
    process = project.start("--pipelines=unfused", "--params", "teacher=decarr")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert output.splitlines()[-1].startswith("Error: ")


def test_a_mistake_keeps_its_traceback_on_demand(command, monkeypatch):
    monkeypatch.setenv("UNFUSED_TRACEBACK", "1")
    result = command("--params=teacher=decarr")
    assert type(result.exception) is UserError
    assert "Error: " not in result.output


def test_a_bug_keeps_its_traceback(command, monkeypatch):
    monkeypatch.setattr("unfused.data.manifest.scan_audio", lambda *_, **__: 1 / 0)
    result = command("--params=data=somewhere")
    assert type(result.exception) is ZeroDivisionError


def caught(function, *arguments):
    try:
        function(*arguments)
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def test_only_what_is_meant_for_users_is_words_alone():
    assert all(words_say_it(error("x")) for error in (TrainingDiverged, ProcessFailed))
    assert not words_say_it(caught(int, "x"))  # Python raises it, not our code
    assert not words_say_it(caught(repeat_named, "seedX-fold0"))
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def save(cause):
        raise DatasetError("birds.splits: Failed while saving data") from cause

    assert words_say_it(caught(save, full))
    assert not words_say_it(caught(save, ZeroDivisionError()))


def test_a_full_disk_is_called_so_where_numpy_does_not():
    with open("/dev/full", "wb", buffering=0) as full:
        error = caught(np.arange(10**6).tofile, full)
    assert words_say_it(error)
    assert "the disk is full" in words_of(error)
    assert words_of(UserError("3 requested")) == "3 requested"


def test_the_command_line_says_how_it_is_told_a_remedy(tmp_path):
    (tmp_path / "list.csv").write_text("clip,label\na.wav,x\n")
    error = caught(read_table, tmp_path / "list.csv")
    assert "--params" not in str(error)
    assert words_of(error) == f"{error} (--params tasks.own_data.columns.path=<column>)"
    wrapped = DatasetError("it cannot be loaded")
    wrapped.__cause__ = error
    assert words_of(wrapped) == words_of(error).replace(str(error), str(wrapped))


@pytest.mark.usefixtures("heard_sigint")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_says_how_to_go_on(command, monkeypatch, number):
    def stopped(*_, **__):
        os.kill(os.getpid(), number)
        time.sleep(10)

    monkeypatch.setattr("unfused.data.manifest.scan_audio", stopped)
    monkeypatch.setattr("unfused.cli.PATIENCE", 3600)  # this process goes on
    before = signal.getsignal(signal.SIGTERM)
    result = command("--params=data=somewhere")
    assert result.exit_code == 128 + number
    STOPPING.clear()
    assert result.output.splitlines()[-1] == STOPPED
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC])
def test_a_disk_that_takes_nothing_ends_the_run_first(command, monkeypatch, number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("unfused.hooks.tempfile.TemporaryFile", refuse)
    result = command("--params=data=somewhere")
    assert result.exit_code == 1
    assert os.strerror(number) in result.output
    assert "data_root" in result.output


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
