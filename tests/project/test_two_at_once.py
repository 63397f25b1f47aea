"""Two commands at once on one data folder: both right, or one is refused; never a mixture."""

import re
import signal
import time
from contextlib import contextmanager

from .attacks import contents

DECAR = {"methods.decar.training.clip_updates": 320, "methods.decar.training.batch_size": 8}


def start(project, pipeline, **params):
    text = ",".join(f"{name}={value}" for name, value in params.items())
    return project.fork(f"--pipelines={pipeline}", "--params", text)


@contextmanager
def held_in_training(project, process):
    """Stop a process as soon as it trains, and let it go on afterwards."""
    while not list(project.data.glob("06_models/decar/.*.lock")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def test_two_runs_of_the_same_files_and_of_a_name(project, class_folders, tmp_path):
    params = {"data": str(class_folders), **DECAR}
    asked = [{}, {"run_name": "other"}]
    started = [start(project, "decar", **params)]
    with held_in_training(project, started[0]):
        started += [start(project, "decar", **params, **more) for more in asked]
        refused = started[1].communicate(timeout=120)[0]
    first, third = (started[k].communicate(timeout=300)[0] for k in (0, 2))
    said = [first, refused, third]
    codes = [process.returncode for process in started]
    assert codes == [0, 1, 0], said
    assert re.search(r"process \d+ on .* \(since .*\) is writing .*run_name", said[1])
    assert "Traceback" not in said[1]
    assert ["trained DECAR" in text for text in said] == [True, False, False]  # one waited for it
    alone = project.copy_settings(tmp_path / "alone")
    alone.params = params
    alone.run("decar")
    expected, found = contents(alone.data), contents(project.data)
    of_the_other = contents(project.data / "runs/other")
    assert {name: found[name] for name in expected} == expected
    own = {name: said for name, said in expected.items() if not name.startswith(("04_", "06_"))}
    elsewhere = {name for name in own if name.endswith(".json")}  # they say where outputs are
    assert set(of_the_other) == set(own)
    for name in set(own) - elsewhere:
        assert of_the_other[name] == own[name], name


def test_audio_is_classified_beside_a_training(own_data_run, class_folders, tmp_path):
    project = own_data_run.copy(tmp_path / "results")
    project.run("classify", new_audio=str(class_folders / "low"))
    names = ["new_audio/predictions.csv", "new_audio/embeddings.parquet"]
    files = [project.data / "07_model_output" / name for name in names]
    expected = [file.read_bytes() for file in files]
    training = start(project, "decar", data=class_folders, **DECAR)
    try:
        with held_in_training(project, training):
            project.run("classify", new_audio=str(class_folders / "low"))
    finally:
        output, _ = training.communicate(timeout=300)
    assert training.returncode == 0, output
    assert [file.read_bytes() for file in files] == expected
