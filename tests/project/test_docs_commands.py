"""Every command that README and docs show is run here, or it is said why not and checked dry.

Dry: pipeline, environment, datasets and nodes exist, and the parameters are valid ones.
"""

import os
import re
import shlex
import subprocess
import tomllib
from functools import cache

import pytest
import yaml
from click.testing import CliRunner
from kedro.framework.project import pipelines

from unfused import params
from unfused.cli import run

from .docs_pages import PAGES, ROOT, blocks, commands, name_of

METHODS = ("conformer", "slicer")  # an encoder of its own; k-mix
RUN = [  # on a copy of the finished run, one after the other, with --env=test
    "kedro run --pipelines=unfused --to-outputs=instrument.pseudo_labels",
    "kedro run --pipelines=unfused --to-outputs=instrument.students"
    " --params unfused.pseudo_labels.n_clusters=20",
    "kedro run --pipelines=data_engineering --params data=my_sounds",
    "kedro run --pipelines=data_engineering --params data=birds.csv",
    *(f"kedro run --pipelines={method}" for method in METHODS),
]
RUN_ELSEWHERE = {
    "kedro run --pipelines=unfused": "tests/project/conftest.py: finished",
    "kedro run --pipelines=data_engineering": "the first part of the finished run",
    "kedro run --pipelines=decar": "tests/project/test_interruption.py",
    "kedro run --pipelines=unfused --params data=my_sounds": "conftest.py: own_data_run",
    "kedro run --pipelines=unfused --params data=birds.csv": "tests/project/test_own_data.py",
    "kedro run --pipelines=compare_runs": "tests/project/test_runs.py",
    "kedro run --pipelines=unfused --params fresh=true": "tests/project/test_reuse.py",
    "make results": "tests/project/test_docs.py: refused without its data",
}
NOT_RUN = {  # expression -> why; all of them are checked dry
    r"kedro run --pipelines=(byol_a|cola|delores_m|delores_s|selfie)": (
        "tests/training/test_real_methods.py trains every method"
    ),
    r"kedro run .*mixing=k_mix": "slicer, which is run, mixes so",
    r"kedro run .*teacher=\w+": "minutes: the teacher's own pipeline is run above",
    r"kedro run .*(cut=fc1|whiten|n_clusters|embeddings=true).*": "minutes: another student",
    r"kedro run --pipelines=(unfused|lape|slicer) .*--env=\w+.*": "hours, a GPU, or other data",
    r"python benchmarks/bench_gpu.py": "a GPU",
    r"kedro run --pipelines=lape.*": "an hour: every method is trained",
    r"kedro run .*data=my_sounds,unlabelled=field_recordings": "minutes: data=my_sounds is run",
    r"kedro run .*data=/audio/my_sounds": "data that is not there",
    r"kedro run .*run.seeds=3": "three times the demo",
    r"kedro run .*run.processes=2.*": "tests/training/test_processes.py",
    r"make (unfused|test|results|lint|format|viz|viz-build|docs|bench|soak|clean)\b.*": (
        "installs, deletes, or takes minutes"
    ),
    r"(python3? -m (venv|pip)|pip) .*": "installs",
    r"python -m pytest": "it is what runs this",
    r"(python -m )?unfused .*": "tests/project/test_packaging.py runs the package",
    r"mlflow ui .*": "a server",
    r"kedro run --pipelines=(model|classify|export).*": "tests/project/test_trained_model.py",
    r"kedro run .*(label_next|labels=).*": "tests/project/test_label_page.py",
    r"kedro run .*run.tracking=mlflow": "tests/project/test_tracking.py",
    r"make (classify|export)\b.*": "new audio that is not there",
}
SHOWN = list(dict.fromkeys((command, page) for page in PAGES for command in commands(page)))
DISTINCT = list(dict.fromkeys(command for command, _ in SHOWN))
KEDRO = [command for command in DISTINCT if command.startswith("kedro run ")]
MAKE = [command for command in DISTINCT if command.startswith("make ")]
BLOCKS = [(page, text) for page in PAGES for text in blocks(page, "yaml")]


def arguments(command):
    """Return what a ``kedro run`` command asks for."""
    context = run.make_context("run", shlex.split(command)[2:])
    return {name: value for name, value in context.params.items() if value}


def merged(base, given):
    """Return parameters with others put over them, as Kedro does."""
    if not (isinstance(base, dict) and isinstance(given, dict)):
        return given
    return base | {name: merged(base.get(name), value) for name, value in given.items()}


def check(base, given):
    """Refuse parameters that a run would refuse before any work."""
    whole = merged(base, given)
    params.Study.of(whole).as_benchmark(whole)
    for name in given:
        for entry in given[name] if name in params.ENTRIES else ():
            params.GROUPS[name](**whole[name][entry])
        if name in params.GROUPS and name not in params.ENTRIES:
            params.GROUPS[name](**whole[name])
    if "device" in given:
        params.Run(**whole["run"] | {"device": given["device"]})


@pytest.fixture(scope="module")
def configured(untouched_project):
    """Return the pipelines and the parameters of an environment."""

    @cache
    def of(env):
        with untouched_project.session(env=env) as session:
            given = session.load_context().config_loader["parameters"]  # first: pipelines go by it
            return dict(pipelines), given

    return of


def test_there_are_commands_on_many_pages():
    assert len(DISTINCT) > 40
    assert len({page for _, page in SHOWN}) > 15


@pytest.mark.parametrize("command", DISTINCT)
def test_a_command_is_run_or_has_a_reason_not_to_be(command):
    reasons = [why for pattern, why in NOT_RUN.items() if re.fullmatch(pattern, command)]
    assert command in RUN or command in RUN_ELSEWHERE or reasons


def test_the_lists_name_only_what_is_shown():
    assert {*RUN, *RUN_ELSEWHERE} - set(DISTINCT) <= {"make results"}
    stale = [item for item in NOT_RUN if not any(re.fullmatch(item, shown) for shown in DISTINCT)]
    assert not stale


@pytest.mark.parametrize("command", KEDRO)
def test_a_run_could_start(command, configured):
    asked = arguments(command)
    env = asked.get("env", "base")
    if any(f"# conf/{env}/globals.yml" in text for _, text in BLOCKS):
        env = "base"  # the page has its reader make this environment
    registered, parameters = configured(env)
    pipeline = sum(registered[name] for name in asked.get("pipelines", ["__default__"]))
    pipeline.to_outputs(*asked.get("to_outputs", pipeline.outputs()))
    pipeline.only_nodes(*asked.get("node_names", [pipeline.nodes[0].name]))
    check(parameters, asked.get("params", {}))


@pytest.mark.parametrize(
    "given",
    [{"teacher": "decarr"}, {"unfused": {"distillation": {"alpha": 2}}}, {"device": "gpu"}],
    ids=str,
)
def test_a_wrong_example_is_noticed(given, configured):
    with pytest.raises(ValueError, match=r"\w"):
        check(configured("base")[1], given)


@pytest.fixture(scope="module")
def playground(finished, class_folders, tmp_path_factory):
    """A copy of the finished run, and audio under the names that the pages use."""
    folder = tmp_path_factory.mktemp("playground")
    files = sorted(file for file in class_folders.rglob("*.*") if file.parent.name != "unlabelled")
    rows = "".join(f"{file},{file.parent.name}\n" for file in files)
    (folder / "birds.csv").write_text("path,label\n" + rows)
    (folder / "my_sounds").symlink_to(class_folders)
    return finished.copy(folder / "results")


@pytest.mark.parametrize("command", RUN)
def test_a_command_runs(command, playground, monkeypatch):
    monkeypatch.chdir(playground.root)
    monkeypatch.setenv("UNFUSED_TEST_DATA_ROOT", str(playground.data))
    folder = playground.data.parent
    words = re.sub(r"\b(my_sounds|birds\.csv)", rf"{folder}/\1", command)
    result = CliRunner().invoke(run, ["--env=test", *shlex.split(words)[2:]])
    assert result.exit_code == 0, result.output
    assert result.exception is None


@pytest.mark.parametrize("command", MAKE)
def test_make_knows_the_target_and_its_variables(command):
    words = shlex.split(command)
    variables = {word.partition("=")[0] for word in words[2:]}
    assert variables <= {"DATA", "UNLABELLED", "ENV", "UNFUSED_DATA", "AUDIO"}
    environments = [word[4:] for word in words if word.startswith("ENV=")]
    assert all((ROOT / "conf" / name).is_dir() for name in environments)
    done = subprocess.run(
        [*words, "--dry-run", "--assume-old=.venv/demo"],
        cwd=ROOT,
        env={**os.environ, "UNFUSED_DATA": "x"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_extras_that_are_installed_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    shown = [word for command in DISTINCT for word in shlex.split(command) if word[:2] == ".["]
    assert shown
    assert {name.strip("[]. ") for name in shown} <= set(project["optional-dependencies"])


@pytest.mark.parametrize(("page", "text"), BLOCKS, ids=[name_of(page) for page, _ in BLOCKS])
def test_configuration_examples_are_valid(page, text, configured):
    given = yaml.safe_load(text)
    if "pipelines" in given.get("run", {}):  # a file for --config
        given = given["run"]["params"]
    if "data_root" in given:
        assert set(given) <= set(yaml.safe_load((ROOT / "conf/base/globals.yml").read_text()))
        return
    if "agree" in given.get("methods", {}):  # its class is on the page; test_new_method.py adds one
        given["methods"]["agree"] |= {"name": "decar", "settings": {}}
    check(configured("base")[1], given)
