"""Every file that a run leaves is attacked: none is used as if nothing had happened."""

import json
import re
from shutil import rmtree

import pytest

from unfused.cli import words_say_it
from unfused.core import written
from unfused.core.errors import UserError
from unfused.core.outputs import RECORD, damage
from unfused.tasks.corpus import Corpus

from .attacks import ATTACKS, another_process, attack, contents, files_below

SOME_TABLE = "07_model_output/results.parquet"
OTHER = {"front_end.f_max": 7000.0, "methods.decar.training.clip_updates": 48}


@pytest.fixture(scope="module")
def whole(own_data_run, class_folders, tmp_path_factory):
    """A study with everything that comes of one: its model exported, and new audio classified."""
    project = own_data_run.copy(tmp_path_factory.mktemp("whole") / "results")
    project.run("export", **{"export.onnx": False})
    project.run("classify", new_audio=str(class_folders / "low"))
    return project


@pytest.fixture(scope="module")
def others(whole, tmp_path_factory):
    """What the same study leaves with other settings."""
    project = whole.copy_settings(tmp_path_factory.mktemp("others") / "results")
    project.run(**OTHER)
    return project.data


@pytest.fixture
def project(whole, tmp_path):
    return whole.copy(tmp_path / "results")


def record_of(file, root):
    """Return the nearest record that a file is in, or is."""
    above = [path for path in file.parents if path.is_relative_to(root)]
    for folder in above:
        for name in (RECORD, "corpus.json", written.RECORD):
            if file == folder / name:
                return file
            if (record := folder / name).is_file():
                said = json.loads(record.read_text())["files"]
                if file.relative_to(folder).as_posix() in said:
                    return record
    return None


def noticed(file, record):
    """Return whether whoever takes a file would be told that it is not what was written."""
    if not record.is_file():
        return True  # unfinished
    if record.name == RECORD:
        mark = re.search(r"-([0-9a-f]{12})$", record.parent.name)  # a copy has none in its name
        return bool(damage(record, mark and mark[1]))
    try:
        if record.name == "corpus.json":
            Corpus.load(record.parent)
            written.check(record)
        else:
            written.check(file)
    except UserError as error:
        return file.name in str(error) or record.name in str(error)
    return not file.is_file()


def test_every_file_is_in_a_record_and_no_attack_on_it_goes_unnoticed(project, others):
    unknown, unnoticed = [], []
    for file in files_below(project.data):
        record = record_of(file, project.data)
        if record is None:
            unknown.append(file)
            continue
        said = file.read_bytes()
        reader = project.data / SOME_TABLE if file.name == written.RECORD else file
        for number, way in enumerate(ATTACKS):
            attack(number, file, project.data, others)
            harmless = file.exists() and file.read_bytes() == said
            if not harmless and not noticed(reader, record):
                unnoticed.append((way.__name__, file))
            file.write_bytes(said)
    assert not unknown
    assert not unnoticed


@pytest.mark.parametrize(
    "first", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, len(ATTACKS)))]
)
def test_after_attacks_on_every_file_the_same_commands_end_the_same(project, whole, others, first):
    """File by file another attack; with each ``first`` another one on the same file."""
    for number, file in enumerate(files_below(project.data)):
        attack(first + number, file, project.data, others)
    another_process()
    project.run()
    project.run("export", **{"export.onnx": False})
    project.run("classify", new_audio=project.params["data"] + "/low")
    found, expected = contents(project.data), contents(whole.data)
    assert [name for name in expected if found.get(name) != expected[name]] == []


STORE, ENCODERS = "04_feature/*/log_mels-*", "06_models/*/unfused/*/unfused-seed0-*"
NETWORKS = "06_models/*/networks/unfused-*"
ALONE = [  # a command, and which folders it takes besides what its datasets name
    ("classify", {}, []),
    ("export", {"export.onnx": False}, []),
    ("reporting", {}, [STORE]),
    ("model", {"model.encoder": "unfused", "model.protocol": "linear_probe"}, [ENCODERS]),
    ("model", {"model.encoder": "unfused", "model.protocol": "fine_tuning"}, [NETWORKS]),
]


EVERY = pytest.param(1, marks=pytest.mark.slow)


@pytest.mark.parametrize("step", [8, EVERY])
@pytest.mark.parametrize(("pipeline", "params", "folders"), ALONE)
def test_a_pipeline_that_takes_what_another_left_takes_nothing_else(
    project, others, class_folders, pipeline, params, folders, step
):
    params = {**params, "new_audio": str(class_folders / "low")}
    taken = [project.data / name for name in taken_by(project, pipeline)]
    taken += [path for pattern in folders for path in project.data.glob(pattern)]
    files = [file for path in taken for file in ([path] if path.is_file() else files_below(path))]
    project.run(pipeline, **params)
    before, record, wrong = contents(project.data), project.data / written.RECORD, []
    for number, file in enumerate(files):
        if number % step:
            continue
        said, known = file.read_bytes(), record.read_bytes()
        way = attack(number // step, file, project.data, others)
        for made in project.data.glob("06_models/*/classifiers"):
            rmtree(made)  # or nothing would be taken
        another_process()
        try:
            project.run(pipeline, **params)
        except Exception as error:
            said_of = file.parent if file.name == RECORD else file  # another's is as good as none
            if not words_say_it(error) or said_of.name not in f"{error} {error.__cause__}":
                wrong.append((file, way, repr(error)))
        else:
            after, same = contents(project.data), str(file.relative_to(project.data))
            changed = [name for name in before if after.get(name) not in (before[name], None)]
            wrong += [(file, way, name) for name in changed if name != same]
        file.write_bytes(said)
        record.write_bytes(known)
    assert files
    assert not wrong


def taken_by(project, pipeline):
    """Return the files and folders that a pipeline's free inputs are in."""
    from kedro.framework.project import pipelines

    with project.session() as session:
        catalog = session.load_context().catalog
        names = [name for name in pipelines[pipeline].inputs() if not name.startswith("param")]
        return [catalog.get(name).filepath for name in names]
