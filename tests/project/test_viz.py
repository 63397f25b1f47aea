"""What Kedro-Viz shows: stages that fold, layers in order, nothing without a layer."""

import json
import os
import subprocess
import sys

LAYERS = [
    *("raw audio", "scanned files", "log-mels", "corpora", "training input", "teachers"),
    *("pseudo-labels", "students", "candidates", "scores", "model", "report"),
]
SCRIPT = """
import json, sys, pathlib
from kedro.framework.startup import bootstrap_project
from kedro_viz.api.rest.responses.pipelines import get_pipeline_response
from kedro_viz.server import load_and_populate_data
root = pathlib.Path.cwd()
bootstrap_project(root)
given = json.loads(sys.argv[2])
load_and_populate_data(root, env=sys.argv[1], include_hooks=True, extra_params=given)
print("\\n" + get_pipeline_response().model_dump_json())
"""
METADATA = """
from kedro_viz.api.rest.responses.nodes import get_node_metadata_response
from kedro_viz.api.rest.responses.utils import get_encoded_response
from kedro_viz.data_access import data_access_manager as data
nodes = [node for node in data.nodes.as_list() if node.type != "parameters"]
answers = {node.name: get_encoded_response(get_node_metadata_response(node.id)).decode()
           for node in nodes if node.type in ("data", "task")}
print("\\n" + json.dumps(answers))
"""
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


def shown(root, env, script=SCRIPT, data_root="data/test", **params):
    command = [sys.executable, "-c", script, env, json.dumps(params)]
    environment = {**os.environ, "UNFUSED_TEST_DATA_ROOT": str(data_root)}
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "could not be previewed" not in done.stdout + done.stderr
    graph, *answers = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return json.loads(graph), *map(json.loads, answers)


def assert_stages(graph, layers):
    """Check that stages follow one another, and that nothing stands outside."""
    assert graph["layers"] == layers  # none at all where stages form a circle
    assert [
        node["name"] for node in graph["nodes"] if node["type"] == "data" and not node["layer"]
    ] == []
    folded = {child["id"] for child in graph["modular_pipelines"]["__root__"]["children"]}
    assert {"data_engineering", "pretraining", "unfused", "evaluation", "reporting"} <= folded


def test_stages_of_own_data(project_root):
    params = {"data": "some/folder", "unlabelled": "other"}
    (graph,) = shown(project_root, "test", **params)
    assert_stages(graph, LAYERS[1:])  # nothing is rendered


def test_before_any_run_everything_is_described(project_root, tmp_path):
    tasks = {"tasks": ["instrument", "instrument_family", "pitch_class", "mixtures"]}
    graph, answers = shown(project_root, "test", SCRIPT + METADATA, tmp_path, select=tasks)
    assert_stages(graph, LAYERS)
    assert set(FOLDED) <= set(graph["modular_pipelines"])
    silent = []
    for name, answer in answers.items():
        found = json.loads(answer)
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
