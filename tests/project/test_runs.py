"""Runs with a name: what they share, what is their own, and how they are compared."""

import re
import shutil

import pandas as pd
import pytest
import yaml

from unfused.cli import run
from unfused.config import run_folder

LOWER, HIGHER = 0.3, 0.7  # the configured one, whose student is there
ALPHA = "unfused.distillation.alpha"
COMPARED = ["results", "parameters_used"]
SHARED = {"04_feature", "06_models"}
OWN = {
    *("02_intermediate", "03_primary", "05_model_input", "07_model_output", "08_reporting"),
    "written.json",
}


def files(folder):
    return {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def sweep(own_data_run, tmp_path_factory):
    """Two named runs of a tiny study after one without a name, and the table of both."""
    project = own_data_run.copy_settings(tmp_path_factory.mktemp("sweep") / "results")
    for name in SHARED:
        shutil.copytree(own_data_run.data / name, project.data / name)
    project.run(to=COMPARED, run_name="lower", **{ALPHA: LOWER})
    before = files(project.data / "runs/lower")
    second = project.run(run_name="higher", **{ALPHA: HIGHER})
    assert files(project.data / "runs/lower") == before
    project.output = project.run("compare_runs")
    project.second = second
    return project


def test_audio_and_log_mels_are_shared_and_the_rest_is_not(sweep):
    assert {path.name for path in sweep.data.iterdir()} == {
        *(*SHARED, "runs", "08_reporting", "written.json")
    }
    for name in ("lower", "higher"):
        assert {path.name for path in (sweep.data / "runs" / name).iterdir()} == OWN
    assert (sweep.data / "runs/higher/08_reporting/report.html").is_file()


def test_what_fits_is_used_by_both_runs(sweep):
    assert "reused decar/" in sweep.second
    models = sweep.data / "06_models"
    assert len(list(models.glob("decar/*/encoder.safetensors"))) == 1
    assert len(list(models.glob("*/unfused/*/*/student/encoder.safetensors"))) == 2


def test_the_table_has_validation_scores_and_what_differs(sweep):
    table = pd.read_csv(sweep.data / "08_reporting/run_comparison.csv", keep_default_na=False)
    assert set(table["run"]) == {"lower", "higher"}
    assert dict(zip(table["run"], table[ALPHA], strict=True)) == {"lower": LOWER, "higher": HIGHER}
    named = ["run", "task", "encoder", "source", "read_out", "protocol"]
    assert [*named, "validation", "n_seeds", ALPHA] == list(table)
    best = table.loc[table["validation"].idxmax(), "run"]
    results = sweep.table("runs/lower/07_model_output/results.parquet")
    student = {"encoder": "unfused", "source": "teacher", "protocol": "linear_probe"}
    for name, value in student.items():
        results, table = results[results[name] == value], table[table[name] == value]
    key = ["read_out"]
    scores = results.drop_duplicates(key).set_index(key)["validation"]
    lower = table[table["run"] == "lower"].set_index(key)["validation"].astype(float)
    assert len(scores) == 1
    pd.testing.assert_series_equal(lower.sort_index(), scores.sort_index(), check_dtype=False)
    for _, part in table.groupby(key):
        assert list(part["validation"]) == sorted(part["validation"], reverse=True)
    assert f"run {best} is the best of 2 on validation" in sweep.output


def test_no_test_score_is_in_the_table(sweep):
    text = (sweep.data / "08_reporting/run_comparison.csv").read_text(encoding="utf-8")
    assert "accuracy" not in text
    assert "test" not in text.splitlines()[0]


def test_a_name_changes_nothing_where_all_runs_are_compared(sweep):
    table = sweep.data / "08_reporting/run_comparison.csv"
    before = table.read_bytes()
    sweep.run("compare_runs", run_name="lower")
    assert table.read_bytes() == before


def test_without_a_run_there_is_nothing_to_compare(project):
    with pytest.raises(Exception, match="run_name="):
        project.run("compare_runs")


@pytest.mark.parametrize("name", ["a/b", "..", "", "-x", "a b"])
def test_a_name_is_one_folder(name):
    with pytest.raises(ValueError, match="run_name"):
        run_folder("data", name)


def test_a_number_is_a_name():
    assert run_folder("data", 50) == "data/runs/50"


def test_the_file_of_a_run_in_the_documentation_is_read(untouched_project):
    page = untouched_project.root / "docs/howto/sweeps.md"
    text = re.search(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M).group(1)
    given = yaml.safe_load(text)["run"]
    assert set(given) <= {option.name for option in run.params}
    with untouched_project.session(**given["params"]) as session:
        loader = session.load_context().config_loader
        assert loader["parameters"]["run"]["seeds"] == given["params"]["run"]["seeds"]
        assert loader["parameters"]["run"]["device"] == "auto"
        assert loader["parameters"]["unfused"]["pseudo_labels"]["n_clusters"] == 20
        assert "runs/k20" in loader["catalog"]["report"]["filepath"]
