"""What stands around the package: continuous integration, the container, the slow tests."""

import fnmatch
import re
import shlex

import pytest
import yaml


def read(root, name):
    return (root / name).read_text(encoding="utf-8")


@pytest.fixture
def workflow(project_root):
    return yaml.safe_load(read(project_root, ".github/workflows/ci.yml"))


def test_the_workflow_runs_what_a_clean_clone_runs(workflow, project_root):
    (job,) = workflow["jobs"].values()
    commands = [step["run"].strip() for step in job["steps"] if "run" in step]
    assert commands[-1] == ".ci/run"
    assert not [
        command for command in commands if re.search(r"\b(pytest|make|ruff|mypy)\b", command)
    ]
    assert (project_root / ".ci/run").stat().st_mode & 0o111
    script = read(project_root, ".ci/run").splitlines()
    assert script[-1] == "make test"
    assert set(workflow[True]) >= {"push", "pull_request"}  # YAML takes the word `on` for true


def test_the_workflow_caches_what_pip_installs(workflow, project_root):
    (job,) = workflow["jobs"].values()
    (python,) = [step for step in job["steps"] if "setup-python" in step.get("uses", "")]
    assert python["with"]["cache"] == "pip"
    for name in python["with"]["cache-dependency-path"].split():
        assert (project_root / name).is_file()
    lowest = re.search(r'requires-python = ">=([\d.]+)"', read(project_root, "pyproject.toml"))
    assert python["with"]["python-version"] == lowest.group(1)


def instructions(root):
    """Return the instructions of the Dockerfile, as (word, rest)."""
    text = re.sub(r"\\\n\s*", " ", read(root, "Dockerfile"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(" ", 1)) for line in lines]


def test_the_container_installs_the_project_and_runs_as_a_user(project_root):
    steps = instructions(project_root)
    assert steps[0] == ("FROM", "python:3.11-slim")
    words = [word for word, _ in steps]
    assert words.index("USER") < words.index("ENTRYPOINT")
    given = dict(steps)
    scripts = re.search(r"\[project\.scripts\]\n(\w+) =", read(project_root, "pyproject.toml"))
    assert yaml.safe_load(given["ENTRYPOINT"]) == [scripts.group(1)]
    assert yaml.safe_load(given["CMD"]) == ["run", "--pipelines=unfused"]
    assert given["VOLUME"].startswith(given["WORKDIR"])
    install = next(rest for word, rest in steps if word == "RUN" and "pip install" in rest)
    assert "/tmp/source/constraints.txt" in shlex.split(install)
    (extra,) = re.findall(r"/tmp/source\[(\w+)\]", install)
    assert re.search(rf"^{extra} = \[", read(project_root, "pyproject.toml"), flags=re.MULTILINE)


def test_the_container_is_sent_all_that_it_is_built_from(project_root):
    rules = [
        line for line in read(project_root, ".dockerignore").split("\n") if line[:1] not in "#"
    ]
    assert rules[0] == "*"
    kept = [rule[1:] for rule in rules if rule.startswith("!")]
    assert all((project_root / name).exists() for name in kept)
    needed = re.findall(r'"(README\.md|LICENSE)"', read(project_root, "pyproject.toml"))
    for name in [*needed, "setup.py", "pyproject.toml", "constraints.txt", "src", "conf"]:
        assert name in kept
    assert any(fnmatch.fnmatch("conf/local/secret.yml", rule) for rule in rules if rule != "*")


def test_slow_tests_run_by_make_test_all(project_root):
    makefile, settings = read(project_root, "Makefile"), read(project_root, "pyproject.toml")
    assert re.search(r"^PYTEST := .*python -m pytest ", makefile, flags=re.MULTILINE)
    assert re.search(r"^test:.*\n\t@\$\(PYTEST\)$", makefile, flags=re.MULTILINE)
    assert re.search(
        r'^test-all:.*\n\t@\$\(PYTEST\) -m "slow or not slow"$', makefile, flags=re.MULTILINE
    )
    assert "-m 'not slow'" in settings
