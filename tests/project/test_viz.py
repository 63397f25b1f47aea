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


def shown(root, env, **params):
    command = [sys.executable, "-c", SCRIPT, env, json.dumps(params)]
    done = subprocess.run(
        command, cwd=root, env=dict(os.environ), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
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
