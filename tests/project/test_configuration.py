"""The configuration of every environment: whole, typed, and all of it used."""

import ast
import os
import subprocess
import sys
from functools import cache

import pytest
import yaml
from kedro.framework.project import pipelines
from kedro.io import MemoryDataset
from pydantic import BaseModel

ENVIRONMENTS = [
    "base",
    "test",
    "gpu",
    "paper",
    "results",
    "lape",
    "selfie_ablation",
    "conformer_labels",
]
LAYERS = {
    *("raw audio", "scanned files", "log-mels", "corpora", "training input", "teachers"),
    *("pseudo-labels", "students", "candidates", "scores", "model", "report"),
}
READ_BY_REGISTRY = {"select", "teacher"}
LONGEST_NODE, MOST_INPUTS = 25, 5  # lines, with signature and docstring


@pytest.fixture(scope="module")
def load(untouched_project):
    """Return the catalog, the pipelines and the parameters of an environment."""

    @cache
    def of(env, **params):
        with untouched_project.session(env=env, **params) as session:
            context = session.load_context()
            return context.catalog, dict(pipelines), context.config_loader["parameters"]

    return of


@pytest.fixture(params=ENVIRONMENTS)
def environment(request, load):
    return load(request.param)


def datasets(registered):
    """Return the names of all datasets of some pipelines, parameters left out."""
    names = {name for pipeline in registered.values() for name in pipeline.datasets()}
    return {name for name in names if not name.startswith("params:") and name != "parameters"}


def inputs(registered):
    """Return the names of all parameters that nodes take, but the table of all."""
    names = {name for pipeline in registered.values() for name in pipeline.datasets()}
    return {name for name in names if name.startswith("params:")}


def test_every_environment_is_tested(project_root):
    found = {folder.name for folder in (project_root / "conf").iterdir() if folder.is_dir()}
    assert found - {"local"} == set(ENVIRONMENTS)


def test_the_pipelines_have_their_names(environment):
    _, registered, parameters = environment
    stages = {"data_engineering", "modelling", "reporting", "unfused", "__default__"}
    assert stages | set(parameters["methods"]) <= set(registered)
    assert registered["__default__"].nodes == registered["unfused"].nodes
    parts = registered["modelling"].nodes + registered["reporting"].nodes
    assert set(parts) == set(registered["unfused"].nodes)


def test_every_dataset_is_declared_and_has_a_layer(environment):
    catalog, registered, _ = environment
    names = datasets(registered)
    assert len(names) > 30
    for name in sorted(names):
        dataset = catalog.get(name)
        assert dataset is not None, name
        assert not isinstance(dataset, MemoryDataset), name
        assert dataset.metadata["kedro-viz"]["layer"] in LAYERS, name
        assert dataset.metadata["description"].strip(), name


def test_no_two_datasets_write_one_file(environment):
    catalog, registered, _ = environment
    for pipeline in registered.values():
        paths = [str(catalog.get(name).filepath) for name in pipeline.all_outputs()]
        assert len(set(paths)) == len(paths)


def test_every_parameter_is_typed(environment):
    catalog, registered, _ = environment
    for name in inputs(registered):
        if not name.startswith("params:teachers."):  # what they may say depends on their kind
            typed = isinstance(catalog.load(name), BaseModel)
            assert typed or name in ("params:teacher", "params:tasks"), name


def test_every_parameter_is_read_by_a_node(environment):
    _, registered, parameters = environment
    used = {name.removeprefix("params:").split(".")[0] for name in inputs(registered)}
    optional = {"demo"} if "instrument" not in parameters["select"]["tasks"] else set()
    given = {name for name in parameters if not name.startswith("_")}
    assert given - READ_BY_REGISTRY - optional - {"pools"} <= used


def test_only_what_knows_how_long_it_takes_says_so(environment):
    _, _, parameters = environment
    real = "instrument" not in parameters["select"]["tasks"]
    assert bool(parameters["run"].get("expected")) == real


def test_the_papers_values_promise_no_minutes(load):
    _, _, parameters = load("paper")
    assert parameters["demo"]["expected"] is None


def test_an_environment_overrides_only_what_there_is(environment):
    _, _, parameters = environment
    for kind in ("tasks", "pools"):
        for name, entry in parameters[kind].items():
            assert "audio" in entry, f"{kind}.{name}"


def test_every_catalog_entry_is_used(load, project_root):
    entries = set()
    for file in (project_root / "conf").rglob("catalog/*.yml"):
        entries |= set(yaml.safe_load(file.read_text(encoding="utf-8")))
    matched = set()
    loaded = [load(env) for env in ENVIRONMENTS]
    loaded.append(load("test", **{"select.tasks": "pitch_class", "unlabelled": "synthetic"}))
    assert "synthetic_sounds" in datasets({"lape": loaded[-1][1]["lape"]})  # it renders, too
    for catalog, registered, _ in loaded:
        for name in datasets(registered):
            matched |= {name, catalog.config_resolver.match_dataset_pattern(name)}
    assert {entry for entry in entries if not entry.startswith("_")} <= matched


def functions(load):
    found = {}
    for env in ENVIRONMENTS:
        for pipeline in load(env)[1].values():
            whole = [getattr(node.func, "func", node.func) for node in pipeline.nodes]
            found |= {function.__qualname__: function for function in whole}
    return found


def test_every_node_says_what_it_does(load):
    found = functions(load)
    assert len(found) > 15
    for name, function in found.items():
        assert function.__doc__, name
        assert function.__doc__.splitlines()[0].endswith("."), name


def test_nodes_are_thin(project_root):
    for file in (project_root / "src/unfused/pipelines").rglob("nodes.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                length = node.end_lineno - node.lineno + 1
                assert length <= LONGEST_NODE, f"{file.parent.name}.{node.name}: {length} lines"


def test_evaluation_takes_few_inputs(load):
    """Beside the encoders of each method that is compared, which Kedro has to see."""
    for node in load("results")[1]["unfused"].nodes:
        if node.namespace.startswith(("evaluation", "inference")):
            own = [name for name in node.inputs if not name.endswith(".encoders")]
            own = [name for name in own if not name.startswith("params:teachers.")]
            assert len(own) <= MOST_INPUTS, node.name


def test_the_registry_knows_the_environment_without_a_session(untouched_project):
    """``kedro registry list`` and ``kedro viz`` have no hooks; then ``$KEDRO_ENV`` says."""
    script = (
        "from kedro.framework.startup import bootstrap_project as open_project\n"
        "from kedro.framework.project import pipelines\n"
        "open_project('.')\n"
        "print(sorted({node.namespace for node in pipelines['unfused'].nodes}))"
    )
    environment = {**os.environ, "KEDRO_ENV": "conformer_labels"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=untouched_project.root, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "pretraining.conformer" in done.stdout
    assert "evaluation.mixtures" in done.stdout
