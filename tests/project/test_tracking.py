"""What is logged to MLflow of a run: tested without MLflow, and with it where it is installed."""

import importlib.util
import math
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import pandas as pd
import pytest
from kedro.framework.project import pipelines
from unfused.mlflow_store import AT_ONCE, Logged, MLflowStore

from unfused.params import PseudoLabels, Run
from unfused.tracking import artifacts_of, metrics_of, parameters_of

SUMMARY = pd.DataFrame(
    {
        "task": ["Büro sounds (1/2)", "birds"],
        "encoder": ["unfused", "random_init"],
        "source": ["shuffled", ""],
        "read_out": ["block3", ""],
        "protocol": ["linear_probe", "knn"],
        "metric": ["accuracy", "mAP"],
        "mean": [0.5, 0.25],
        "low": [0.4, math.nan],
        "high": [0.6, math.nan],
    }
)


class Client:
    """Takes what MLflow's client would, within MLflow's limits."""

    made: ClassVar = []

    def __init__(self, tracking_uri):
        self.uri, self.logged, self.status = tracking_uri, {"params": {}, "metrics": {}}, None
        self.artifacts = []
        Client.made.append(self)

    def get_experiment_by_name(self, name):
        return None

    def create_experiment(self, name, artifact_location):
        self.experiment = name, artifact_location
        return "7"

    def create_run(self, experiment_id, start_time, tags, run_name):
        self.tags = tags
        return SimpleNamespace(info=SimpleNamespace(run_id="r", run_name=run_name or "some-name"))

    def log_batch(self, run_id, params=(), metrics=()):
        assert 0 < len(params) + len(metrics) <= AT_ONCE
        self.logged["params"].update(params)
        self.logged["metrics"].update((name, value) for name, value, *_ in metrics)

    def log_artifact(self, run_id, path, place):
        self.artifacts.append(f"{place}/{path.rpartition('/')[2]}")

    def log_artifacts(self, run_id, path, place):
        self.artifacts.append(f"{place}/")

    def set_terminated(self, run_id, status):
        self.status = status


@pytest.fixture
def client(monkeypatch):
    """MLflow replaced by one that only remembers; the list of its clients."""
    names = ("mlflow", "mlflow.exceptions", "mlflow.entities")
    modules = {name: ModuleType(name) for name in names}
    modules["mlflow"].__spec__ = ModuleSpec("mlflow", None)
    modules["mlflow"].MlflowClient = Client
    modules["mlflow.exceptions"].MlflowException = type("MlflowException", (Exception,), {})
    modules["mlflow.entities"].Param = lambda *values: values
    modules["mlflow.entities"].Metric = lambda *values: values
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    Client.made.clear()
    return Client.made


def test_parameters_are_flat_and_typed_ones_show_their_defaults():
    given = {
        "run": Run(seeds=[0, 1]),
        "unfused.pseudo_labels": PseudoLabels(whiten=None),
        "tasks": {"birds": {"audio": "a"}, "frogs": {"audio": "b"}},
        "tasks.birds": {"audio": "a", "title": "x" * 7000},
        "teacher": "decar",
    }
    flat = parameters_of(given)
    assert flat["run.seeds"] == "[0, 1]"
    assert flat["run.device"] == "auto"
    assert flat["unfused.pseudo_labels.whiten"] == "None"
    assert flat["teacher"] == "decar"
    assert len(flat["tasks.birds.title"]) == 6000
    assert not [name for name in flat if "frogs" in name]  # no node of the run takes it


def test_metrics_are_named_by_task_encoder_read_out_and_protocol():
    prefix = "Büro sounds _1_2_/unfused-shuffled/block3/linear_probe/accuracy"
    assert metrics_of(SUMMARY) == {
        prefix: 0.5,
        f"{prefix}.low": 0.4,
        f"{prefix}.high": 0.6,
        "birds/random_init/whole/knn/mAP": 0.25,
    }


def test_reports_tables_and_encoders_are_artifacts(own_data_run):
    with own_data_run.session() as session:
        catalog = session.load_context().catalog
        found = [(path.name, place) for path, place in artifacts_of(pipelines["unfused"], catalog)]
    assert ("report.html", "reporting") in found
    assert ("learning_curves.png", "reporting") in found
    assert ("summary.parquet", "reporting") in found
    assert ("data_card.csv", "reporting/own_data") in found
    assert ("results.parquet", "results") in found
    encoder = "encoders/own_data.students/teacher-seed0-fold0/student"
    assert [(f"encoder.{kind}", encoder) for kind in ("json", "safetensors")] == [
        item for item in found if item[1] == encoder
    ]
    assert not [name for name, _ in found if "log_mels" in name or name.endswith(".npy")]


def test_a_run_is_logged_when_it_has_ended(own_data_run, client, tmp_path):
    project = own_data_run.copy(tmp_path / "results")
    project.run(**{"run.tracking": "mlflow"})
    (made,) = client
    assert made.uri == f"sqlite:///{project.data / 'mlflow.db'}"
    assert made.experiment == ("unfused", (project.data / "mlflow_artifacts").as_uri())
    assert made.status == "FINISHED"
    assert made.tags["pipeline"] == "unfused"
    assert made.tags["environment"] == "test"
    assert made.logged["params"]["methods.decar.training.clip_updates"] == "32"
    summary = project.table("08_reporting/summary.parquet")
    scores = made.logged["metrics"]
    assert len([name for name in scores if not name.endswith((".low", ".high"))]) == len(summary)
    assert "reporting/report.html" in made.artifacts


def test_a_failed_run_says_why(own_data_run, client, tmp_path):
    project = own_data_run.copy(tmp_path / "results")
    with pytest.raises(ValueError, match="n_clusters=1000"):
        project.run(**{"run.tracking": "mlflow", "unfused.pseudo_labels.n_clusters": 1000})
    assert client[0].status == "FAILED"
    assert "n_clusters=1000" in client[0].tags["error"]


def test_without_tracking_nothing_is_asked(own_data_run, client, tmp_path):
    own_data_run.copy(tmp_path / "results").run("data_engineering")
    assert client == []


def test_a_store_that_fails_at_the_end_costs_no_results(client, tmp_path, caplog):
    store = MLflowStore(tmp_path)

    def full(*args, **options):
        raise OSError("disk full")

    client[0].create_run = full
    store.add("k50", Logged(), 0, "FINISHED")
    assert "MLflow took only part of this run or none of it" in caplog.text


def test_many_parameters_take_several_requests(client, tmp_path):
    many = {str(number): "x" for number in range(2 * AT_ONCE + 1)}
    MLflowStore(tmp_path).add(None, Logged(parameters=many), 0, "FINISHED")
    assert client[0].logged["params"] == many


def test_tracking_without_mlflow_is_refused_before_any_work(own_data_run, monkeypatch, tmp_path):
    known = importlib.util.find_spec

    def hide(name, *rest):
        return None if name == "mlflow" else known(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", hide)
    with pytest.raises(ValueError, match=r"pip install 'unfused\[tracking\]'"):
        own_data_run.copy_settings(tmp_path / "none").run(**{"run.tracking": "mlflow"})
    assert not (tmp_path / "none/03_primary").exists()


def test_mlflow_has_what_was_logged(own_data_run, tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    project = own_data_run.copy(tmp_path / "results")
    project.run(**{"run.tracking": "mlflow", "run_name": "k50"})
    client = MlflowClient(tracking_uri=f"sqlite:///{project.data / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("unfused")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "k50"
    assert run.data.params["methods.decar.training.clip_updates"] == "32"
    summary = project.table("runs/k50/08_reporting/summary.parquet")
    assert len(run.data.metrics) >= len(summary)
    places = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert {"encoders", "reporting", "results"} <= places
