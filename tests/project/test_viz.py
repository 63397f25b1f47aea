"""What Kedro-Viz shows: stages that fold, layers in order, nothing without a layer."""

import json
from functools import partial

import pytest

LAYERS = [
    *("raw audio", "scanned files", "log-mels", "corpora", "training input", "teachers"),
    *("pseudo-labels", "students", "candidates", "scores", "model", "report"),
]
SHOWN = {
    "demo_corpus": "<audio controls",
    "instrument.manifest": "<table",
    "instrument.log_mels": "<img src='data:image/png",
    "instrument.students": "<table",
    "instrument.corpus": "<table",
    "model": "<table",
    "pseudo_label_quality": "<table",
    "lape_table_md": "<pre",
    "instrument.tsne_pseudo_labels": "<img src='data:image/png",
}
FOLDED = [  # a stage, and in it a method or a task
    *("data_engineering.instrument", "pretraining.decar", "unfused.instrument"),
    *("evaluation.instrument", "reporting.instrument"),
]
DESCRIBED = "<p style='max-width"  # how every description begins

pytestmark = pytest.mark.filterwarnings("ignore:ORJSONResponse")  # Kedro-Viz's own


def graph_and_answers(project, monkeypatch, caplog, **params):
    """Return the graph of a study, and what is said of its nodes when they are looked at."""
    from kedro_viz.api.rest.responses.nodes import get_node_metadata_response
    from kedro_viz.api.rest.responses.pipelines import get_pipeline_response
    from kedro_viz.api.rest.responses.utils import get_encoded_response
    from kedro_viz.data_access import data_access_manager as viz
    from kedro_viz.server import load_and_populate_data

    for name, value in project.environment.items():
        monkeypatch.setenv(name, value)
    viz.reset_fields()
    load_and_populate_data(project.root, env="test", include_hooks=True, extra_params=params)
    found = {
        node.name: json.loads(get_encoded_response(get_node_metadata_response(node.id)))
        for node in viz.nodes.as_list()
        if node.type in ("data", "task")
    }
    assert "could not be previewed" not in caplog.text
    return json.loads(get_pipeline_response().model_dump_json()), found


@pytest.fixture
def shown(untouched_project, monkeypatch, caplog):
    return partial(graph_and_answers, untouched_project, monkeypatch, caplog)


def assert_stages(graph, layers):
    """Check that stages follow one another, and that nothing stands outside."""
    assert graph["layers"] == layers  # none at all where stages form a circle
    assert [
        node["name"] for node in graph["nodes"] if node["type"] == "data" and not node["layer"]
    ] == []
    folded = {child["id"] for child in graph["modular_pipelines"]["__root__"]["children"]}
    assert {"data_engineering", "pretraining", "unfused", "evaluation", "reporting"} <= folded


def test_stages_of_own_data(shown):
    graph, _ = shown(data="some/folder", unlabelled="other")
    assert_stages(graph, LAYERS[1:])  # nothing is rendered


def test_random_sounds_are_a_dataset_of_own_data(shown):
    graph, answers = shown(data="some/folder", unlabelled="synthetic")
    assert_stages(graph, LAYERS)
    assert "Random sounds" in json.dumps(answers["synthetic_sounds"])


def test_before_any_run_everything_is_described(shown):
    tasks = ["instrument", "instrument_family", "pitch_class", "mixtures"]
    graph, answers = shown(select={"tasks": tasks})
    assert_stages(graph, LAYERS)
    assert set(FOLDED) <= set(graph["modular_pipelines"])
    silent = []
    for name, found in answers.items():
        preview = found["preview"]
        text = preview if "type" in found else (preview or {}).get("content", "")
        if not text or ("type" in found and not text.startswith(DESCRIBED)):
            silent.append(name)
    assert len(answers) > 80
    assert silent == []


def test_data_can_be_looked_at(site):
    graph = json.loads((site / "api" / "main").read_text(encoding="utf-8"))
    answers = {
        node["name"]: (site / "api" / "nodes" / node["id"]).read_text(encoding="utf-8")
        for node in graph["nodes"]
        if node["type"] in ("data", "task")
    }
    previews = {name: json.loads(answer)["preview"] for name, answer in answers.items()}
    assert {name: kind in previews[name] for name, kind in SHOWN.items()} == dict.fromkeys(
        SHOWN, True
    )
    assert sum(map(len, answers.values())) < 10_000_000  # characters of the site
    assert len(previews["demo_corpus"]) < 2_000_000
