"""What is logged to MLflow of a run: tested without MLflow, and with it where it is installed."""

import math
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from unfused.core.errors import UserError
from unfused.tracking import metrics_of

SUMMARY = pd.DataFrame(
    {
        "task": ["Büro sounds (1/2)", "birds", "frogs"],
        "encoder": ["unfused", "random_init", "decar"],
        "source": ["shuffled", "", ""],
        "read_out": ["block3", "", "fc2"],
        "protocol": ["linear_probe", "knn", "knn"],
        "fitted_on": ["train+valid", "train", "train"],
        "metric": ["accuracy", "mAP", "mAP"],
        "mean": [0.5, 0.25, math.nan],
    }
)


class FakeMLflow(ModuleType):
    """Remembers what MLflow would be told."""

    MlflowException = type("MlflowException", (Exception,), {})

    def __init__(self):
        super().__init__("mlflow")
        self.told, self.metrics, self.params = {}, {}, {}

    def set_tracking_uri(self, uri):
        self.told["uri"] = uri

    def set_experiment(self, name):
        if self.told["uri"] == "broken":
            raise self.MlflowException("no such store")
        self.told["experiment"] = name

    def start_run(self, run_name, tags):
        self.told |= {"name": run_name, "tags": tags, "status": "RUNNING"}

    def log_params(self, params):
        assert all(len(value) <= 6000 for value in params.values())
        self.params |= params

    def log_metrics(self, metrics):
        self.metrics |= metrics

    def log_artifacts(self, folder, place):
        self.told["artifacts"] = {f"{place}/{path.name}" for path in Path(folder).iterdir()}

    def end_run(self, status):
        self.told["status"] = status


@pytest.fixture
def mlflow(monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    fake = FakeMLflow()
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    return fake


def test_metrics_are_named_by_task_encoder_read_out_and_protocol():
    assert metrics_of(SUMMARY) == {
        "Büro sounds _1/2_/unfused/shuffled/block3/linear_probe/train_valid/accuracy": 0.5,
        "birds/random_init///knn/train/mAP": 0.25,
    }


def test_a_run_is_logged_when_it_has_ended(own_data_run, mlflow, tmp_path):
    project = own_data_run.copy(tmp_path / "results")
    project.run(**{"run.tracking": "mlflow", "run_name": "k50"})
    told = mlflow.told
    assert told["uri"] == f"sqlite:///{project.data / 'mlflow.db'}"
    assert (told["experiment"], told["name"], told["status"]) == ("unfused", "k50", "FINISHED")
    assert "unfused" in told["tags"]["pipeline_names"]
    assert mlflow.params["methods.decar.training.clip_updates"] == "32"
    assert mlflow.params["run.device"] == "auto"
    summary = project.table("runs/k50/08_reporting/summary.parquet")
    assert len(mlflow.metrics) == len(summary.dropna(subset="mean"))
    assert {"reporting/report.html", "reporting/learning_curves.png"} <= told["artifacts"]


def test_a_failed_run_says_why(own_data_run, mlflow, tmp_path):
    project = own_data_run.copy(tmp_path / "results")
    with pytest.raises(ValueError, match="n_clusters=1000"):
        project.run(**{"run.tracking": "mlflow", "unfused.pseudo_labels.n_clusters": 1000})
    assert mlflow.told["status"] == "FAILED"
    assert "n_clusters=1000" in mlflow.told["tags"]["error"]


def test_without_tracking_nothing_is_asked(own_data_run, mlflow, tmp_path):
    own_data_run.copy(tmp_path / "results").run("data_engineering")
    assert mlflow.told == {}


@pytest.mark.parametrize("missing", [True, False])
def test_what_cannot_be_logged_is_refused_before_any_work(
    own_data_run, mlflow, monkeypatch, tmp_path, missing
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "broken")
    if missing:
        monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(UserError, match="tracking"):
        own_data_run.copy_settings(tmp_path / "none").run(**{"run.tracking": "mlflow"})
    assert not list((tmp_path / "none").rglob("*.parquet"))


def test_mlflow_has_what_was_logged(own_data_run, tmp_path, monkeypatch):
    client = pytest.importorskip("mlflow").MlflowClient
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    project = own_data_run.copy(tmp_path / "results")
    project.run(**{"run.tracking": "mlflow", "run_name": "k50"})
    store = client(tracking_uri=f"sqlite:///{project.data / 'mlflow.db'}")
    experiment = store.get_experiment_by_name("unfused")
    (run,) = store.search_runs([experiment.experiment_id])
    assert (run.info.status, run.info.run_name) == ("FINISHED", "k50")
    assert run.data.params["methods.decar.training.clip_updates"] == "32"
    assert run.data.metrics
    assert "reporting" in {item.path for item in store.list_artifacts(run.info.run_id)}
