"""Running again: what is there is reused, and a changed parameter rebuilds what depends on it."""

import re

import pandas as pd
import pytest
from unfused.core.workspace import KEPT


def made(project):
    """Return when each piece of work in use was finished, by the name of its folder."""
    marks = {mark.parent.relative_to(project.data): mark for mark in _marks(project)}
    return {str(piece): mark.stat().st_mtime_ns for piece, mark in marks.items()}


def _marks(project):
    return [mark for mark in project.data.rglob("fingerprint.json") if KEPT not in mark.parts]


def arrays(project):
    """Return when each array was written; the bank of examples is drawn anew in every run."""
    files = [file for file in project.data.rglob("*.npy") if "kmix_bank" not in file.parts]
    return {file: file.stat().st_mtime_ns for file in files}


def trains(output):
    return re.search(r"^(training|resuming|trained) ", output, flags=re.MULTILINE)


def plain(names):
    """Return the names of pieces without the digest that those of embeddings end in."""
    return {re.sub(r"-[0-9a-f]{12}$", "", name) for name in names}


def rebuilt(project, before):
    after = made(project)
    assert set(before) <= set(after)
    return {name for name, time in after.items() if before.get(name) != time}


@pytest.fixture
def project(own_data_run, tmp_path):
    """A finished study to be changed."""
    return own_data_run.copy(tmp_path / "results")


def test_a_second_run_reuses_everything(finished, tmp_path):
    project = finished.copy(tmp_path / "results")
    before = made(project)
    assert len(before) > 10
    stores = arrays(project)
    output = project.run()
    assert not trains(output)
    assert rebuilt(project, before) == set()
    assert arrays(project) == stores
    name = "07_model_output/results.parquet"
    pd.testing.assert_frame_equal(project.table(name), finished.table(name))


def test_distillation_does_not_touch_the_teacher(project):
    before = made(project)
    output = project.run(to=["results"], **{"unfused.distillation.alpha": 0.5})
    assert "reused decar/seed0-fold0" in output
    changed = plain(rebuilt(project, before))
    assert changed == {
        "06_models/own_data/unfused/teacher-seed0-fold0",
        "06_models/own_data/supervised/unfused-seed0-fold0",
        "07_model_output/own_data/embeddings/unfused-teacher",
        "07_model_output/own_data/embeddings/unfused_full-teacher",
        "07_model_output/own_data/frozen/unfused-teacher-seed0-fold0",
        "07_model_output/own_data/frozen/unfused_full-teacher-seed0-fold0",
    } & plain(before)
    assert "06_models/own_data/unfused/teacher-seed0-fold0" in changed


def test_going_back_trains_nothing_again(project):
    project.run(to=["own_data.students"], **{"unfused.distillation.alpha": 0.5})
    output = project.run(to=["own_data.students"])
    assert not trains(output)
    assert "reused unfused/teacher-seed0-fold0, which had been set aside" in output


def test_a_parameter_of_the_report_trains_nothing(project):
    before = made(project)
    output = project.run(to=["own_data.tsne_points", "results"], **{"report.tsne_points": 10})
    assert not trains(output)
    assert rebuilt(project, before) == {"06_models/own_data/pseudo_labels/tsne"}


def test_how_work_is_done_rebuilds_nothing(project):
    before = made(project)
    other = {"extraction.n_jobs": 2, "methods.decar.training.log_every": 7, "run.expected": "soon"}
    project.run(to=["own_data.tsne_points", "results"], device="cpu", **other)
    assert rebuilt(project, before) == set()


def test_another_front_end_rebuilds_all(project):
    before = made(project)
    output = project.run(to=["own_data.tsne_points", "results"], **{"front_end.f_max": 7000.0})
    assert "reused" not in output
    assert plain(rebuilt(project, before)) == plain(before)


def test_fresh_rebuilds_all(project):
    before = made(project)
    output = project.run(to=["own_data.tsne_points", "results"], fresh=True)
    assert "reused" not in output
    assert rebuilt(project, before) == set(before)


def test_results_of_other_seeds_and_controls_do_not_linger(project, own_data_run):
    more = {"run.seeds": [0, 1], "unfused.pseudo_labels.controls": ["shuffled"]}
    project.run(to=["results"], **more)
    results = project.table("07_model_output/results.parquet")
    assert set(results["seed"]) == {0, 1}
    assert "shuffled" in set(results["source"])
    output = project.run(to=["results"])
    assert not trains(output)
    name = "07_model_output/results.parquet"
    pd.testing.assert_frame_equal(project.table(name), own_data_run.table(name))


def test_other_labels_on_the_same_audio_are_counted_again(own_data_run, project):
    manifest = own_data_run.table("03_primary/own_data/manifest.parquet")
    splits = own_data_run.table("05_model_input/own_data/splits.parquet")
    table = manifest[["path", "label"]].assign(split=splits["split"].replace("unlabelled", ""))
    source = project.data / "clips.csv"
    quality = "07_model_output/own_data/pseudo_label_quality.json"
    found = []
    for merged in ({}, {"high": "mid"}):  # three classes, then two
        table.assign(label=table["label"].replace(merged)).to_csv(source, index=False)
        project.run(to=["own_data.pseudo_label_quality"], data=str(source))
        found.append(pd.read_json(project.data / quality)["n_clusters"].item())
    assert found == [3, 2]
