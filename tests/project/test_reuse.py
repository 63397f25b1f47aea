"""Running again: what is there is reused; a changed parameter, label or line of code rebuilds."""

import os
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import yaml

from unfused.core import source
from unfused.core.outputs import mark_of
from unfused.pipelines.evaluation.nodes import truth
from unfused.tasks.corpus import Corpus

from .conftest import TINY, nest

OWN = "06_models/Büro_sounds"
EVERYTHING = ["results", "model", "own_data.tsne_points"]  # datasets that need every training
FIGURES, SUMMARIES = "06_models/figures", "06_models/summaries"
TEACHER, STUDENT = "06_models/decar/decar-seed0", f"{OWN}/unfused/teacher-seed0-fold0/unfused-seed0"
LABELS, MODEL = f"{OWN}/unfused/seed0-fold0/pseudo_labels", f"{OWN}/classifiers/random_init"


def trains(output):
    return re.search(r"^(training|resuming|trained) ", output, flags=re.MULTILINE)


def probes(*encoders):
    return {f"{OWN}/probes/{encoder}-seed0-fold0" for encoder in encoders}


def embeddings(*encoders):
    return {f"{OWN}/embeddings/{encoder}" for encoder in encoders}


@pytest.fixture
def project(own_data_run, tmp_path):
    """A finished study to be changed."""
    return own_data_run.copy(tmp_path / "results")


def test_a_second_run_reuses_everything(finished, tmp_path):
    project = finished.copy(tmp_path / "results")
    before = project.outputs()
    assert len(before) > 10
    output = project.run()
    assert not trains(output)
    assert re.search(rf"finished in .*\({len(before)} reused\)", output)
    assert project.outputs() == before
    name = "07_model_output/results.parquet"
    pd.testing.assert_frame_equal(project.table(name), finished.table(name))


def test_distillation_does_not_touch_the_teacher(project):
    before = project.outputs()
    output = project.run(to=["results"], **{"unfused.distillation.alpha": 0.5})
    assert "reused decar/decar-seed0" in output
    assert project.built_since(before) == {
        STUDENT,
        f"{OWN}/networks/unfused-seed0-fold0",
        *embeddings("unfused-teacher"),
        *probes("unfused-teacher"),
    }
    after = project.outputs()
    assert not trains(project.run(to=["own_data.students"]))  # going back
    assert project.outputs() == after


def test_a_parameter_of_the_report_trains_nothing(project):
    before = project.outputs()
    output = project.run(to=["own_data.tsne_points", "results"], **{"report.tsne_points": 10})
    assert not trains(output)
    assert project.built_since(before) == {f"{OWN}/pseudo_labels/tsne"}


def test_how_work_is_done_rebuilds_nothing(project):
    before = project.outputs()
    other = {"extraction.n_jobs": 2, "methods.decar.training.log_every": 7, "run.expected": "soon"}
    project.run(to=["own_data.tsne_points", "results"], device="cpu", **other)
    assert project.outputs() == before


def test_another_front_end_rebuilds_all(project):
    before = project.outputs()
    output = project.run(to=EVERYTHING, **{"front_end.f_max": 7000.0})
    assert "reused" not in output
    shown = [name for name in before if name.startswith((FIGURES, SUMMARIES))]
    assert len(project.outputs()) == 2 * len(before) - len(shown)


def test_fresh_rebuilds_all(project):
    before = project.outputs()
    output = project.run(fresh=True)
    assert "reused" not in output
    assert set(project.outputs()) == set(before)
    assert not set(project.outputs().items()) & set(before.items())


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


def test_whether_a_clip_has_several_labels_decides_its_scores(tones):
    store, labels = tones
    clips = pd.DataFrame({"clip_id": store.clip_ids, "label": labels})
    one, several = (Corpus.of(store, clips.assign(multi_label=kind)) for kind in (False, True))
    assert mark_of(**truth(one)) != mark_of(**truth(several))


NETWORKS = {f"{OWN}/networks/{name}-seed0-fold0" for name in ("supervised", "unfused")}
EVERY = ("mfcc_statistics", "log_mel_statistics", "random_init", "decar", "unfused-teacher")
REBUILT = {  # file -> what a change in its code, which changes no result, builds again
    "losses/decar.py": {TEACHER},
    "data/log_mel.py": {
        *("04_feature/Büro_sounds/log_mels", "06_models/k_mix/fold0"),
        *(TEACHER, LABELS, STUDENT, MODEL, *NETWORKS, *embeddings(*EVERY), *probes(*EVERY)),
    },
    "distillation/pseudo_labels.py": {LABELS, STUDENT},
    "probes/linear_models.py": {*probes(*EVERY), *NETWORKS, MODEL},
}
USED = (*REBUILT, "training/loop.py", "views/make_views.py", "encoders/audio_ntt.py")


@pytest.fixture
def package(project, tmp_path, monkeypatch):
    """A copy of the package, from which this process takes the digests of its source."""
    copy = tmp_path / "src/unfused"
    shutil.copytree(project.root / "src/unfused", copy)
    monkeypatch.setattr(source, "PACKAGE", copy)
    source._read.cache_clear()
    yield copy
    source._read.cache_clear()


def test_editing_docstrings_and_comments_builds_nothing(project, package):
    before = project.outputs()
    for name in USED:
        text = (package / name).read_text(encoding="utf-8")
        edited = re.sub(r'^"""', '"""Edited. ', text, count=1)
        assert edited != text
        (package / name).write_text(edited + "# a remark\n", encoding="utf-8")
    project.run("modelling")
    assert project.outputs() == before


@pytest.mark.parametrize("name", REBUILT)
def test_editing_code_builds_what_it_makes(project, package, name):
    before = project.outputs()
    with (package / name).open("a", encoding="utf-8") as file:
        file.write("_EDITED = True\n")
    project.run("modelling")
    assert project.built_since(before) == REBUILT[name]


DRAWN = {f"{FIGURES}/{name}" for name in ("learning_curves", "cluster_map", "confusion_matrix")}
SHOWN = {  # file that only shows -> what a change in its code builds again
    "reporting/figures/curves.py": {f"{FIGURES}/learning_curves"},
    "reporting/figures/style.py": {*DRAWN, f"{FIGURES}/view_steps"},
    "reporting/findings.py": {f"{SUMMARIES}/scores"},
    "reporting/page.py": set(),
}


@pytest.mark.parametrize("name", SHOWN)
def test_editing_what_shows_draws_again_and_trains_nothing(project, package, name):
    before, pictures = project.outputs(), project.data / "08_reporting"
    with (package / name).open("a", encoding="utf-8") as file:
        file.write("_EDITED = True\n")
    seen = {path: path.read_bytes() for path in pictures.rglob("*.png")}
    assert not trains(project.run())
    assert project.built_since(before) == SHOWN[name]
    assert {path: path.read_bytes() for path in pictures.rglob("*.png")} == seen


def test_the_same_command_after_an_edit_that_changes_results(own_data_run, tmp_path):
    """The loss of the teacher, in a copy of the project: what learnt from it is built again."""
    project, copy = own_data_run.copy(tmp_path / "results"), tmp_path / "project"
    shutil.copytree(project.root / "src", copy / "src")
    shutil.copytree(project.root / "conf", copy / "conf")
    shutil.copy(project.root / "pyproject.toml", copy)
    loss = copy / "src/unfused/losses/decar.py"
    text = loss.read_text(encoding="utf-8")
    assert text.count(").T / temperature") == 1
    loss.write_text(text.replace(").T / temperature", ").T / (3 * temperature)"), encoding="utf-8")
    settings = copy / "conf/test/parameters/test.yml"
    given = yaml.safe_load(settings.read_text(encoding="utf-8"))
    settings.write_text(yaml.safe_dump(merged(given, nest(TINY))), encoding="utf-8")
    before, data = project.outputs(), project.params["data"]
    done = subprocess.run(
        [sys.executable, "-m", "kedro", "run", "--env=test", "--pipelines=modelling"],
        cwd=copy,
        env={**os.environ, "UNFUSED_TEST_DATA_ROOT": str(project.data), "UNFUSED_AUDIO": data,
             "PYTHONPATH": str(copy / "src")},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rebuilt = {TEACHER, LABELS, *embeddings("decar"), *probes("decar")}
    student = "unfused-teacher"  # of the same labels, perhaps
    learnt = {
        STUDENT,
        *embeddings(student),
        *probes(student),
        f"{OWN}/networks/unfused-seed0-fold0",
    }
    assert rebuilt <= project.built_since(before) <= rebuilt | learnt


def merged(base, given):
    """Return parameters with others put over them."""
    if not (isinstance(base, dict) and isinstance(given, dict)):
        return given
    return base | {name: merged(base.get(name), value) for name, value in given.items()}
