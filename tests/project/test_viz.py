"""What Kedro-Viz shows: stages that fold, layers in order, nothing without a layer."""

import json
import os
import subprocess
import sys

import pytest

LAYERS = [
    *("raw", "intermediate", "primary", "feature", "model_input", "pretrained_models"),
    *("pseudo_labels", "models", "model_output", "reporting"),
]
SCRIPT = """
import json, sys, pathlib
from kedro.framework.startup import bootstrap_project
from kedro_viz.api.rest.responses.pipelines import get_pipeline_response
from kedro_viz.server import load_and_populate_data
root = pathlib.Path.cwd()
bootstrap_project(root)
load_and_populate_data(root, env=sys.argv[1], extra_params=json.loads(sys.argv[2]))
print("\\n" + get_pipeline_response().model_dump_json())
"""
PREVIEWS = """
from kedro_viz.api.rest.responses.nodes import get_node_metadata_response
from kedro_viz.api.rest.responses.utils import get_encoded_response
from kedro_viz.data_access import data_access_manager as data
nodes = {node.name: node for node in data.nodes.as_list() if node.type == "data"}
answers = {name: get_encoded_response(get_node_metadata_response(node.id)).decode()
           for name, node in nodes.items()}
print("\\n" + json.dumps(answers))
"""
SHOWN = {
    "demo_corpus": "HTMLPreview",
    "instrument_family.manifest": "TablePreview",
    "instrument_family.log_mels": "ImagePreview",
    "instrument_family.students": "TablePreview",
    "pseudo_label_quality": "TablePreview",
    "lape_table_md": "HTMLPreview",
    "tsne_pseudo_labels": "ImagePreview",
}


def shown(root, env, script=SCRIPT, data_root="data/test", **params):
    command = [sys.executable, "-c", script, env, json.dumps(params)]
    environment = {**os.environ, "UNFUSED_TEST_DATA_ROOT": str(data_root)}
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "could not be previewed" not in done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("env", "params", "layers"),
    [
        ("full", {}, LAYERS),
        ("test", {"data": "some/folder", "unlabelled": "other"}, LAYERS[1:]),  # nothing rendered
    ],
)
def test_stages_follow_one_another(project_root, env, params, layers):
    graph = shown(project_root, env, **params)
    assert graph["layers"] == layers  # none at all where stages form a circle
    assert [
        node["name"] for node in graph["nodes"] if node["type"] == "data" and not node["layer"]
    ] == []
    folded = {child["id"] for child in graph["modular_pipelines"]["__root__"]["children"]}
    assert {"data_engineering", "pretraining", "unfused", "evaluation", "reporting"} <= folded


def test_data_can_be_looked_at(project_root, finished):
    answers = shown(project_root, "test", SCRIPT + PREVIEWS, finished.data)
    kinds = {name: json.loads(answer).get("preview_type") for name, answer in answers.items()}
    assert {name: kinds[name] for name in SHOWN} == SHOWN
    assert sum(map(len, answers.values())) < 10_000_000  # characters of the site
