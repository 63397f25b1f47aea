"""What README and docs tell people to type, open and set exists."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from pydantic import BaseModel

from unfused import params
from unfused.encoders import AudioNTT

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/howto").glob("*.md")),
]
SHORT = {"data", "unlabelled", "new_audio", "fresh", "device", "run_name"}
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def code_lines(page):
    """Return the lines of code blocks, indented or fenced, and every piece of inline code."""
    text = page.read_text(encoding="utf-8")
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.S | re.M)
    indented = re.findall(r"^ {4}(.*)$", text, re.M)
    inline = re.findall(r"`([^`\n]+)`", text)
    return [line.split("#")[0].strip() for line in [*"\n".join(fenced).split("\n"), *indented]] + [
        piece.strip() for piece in inline
    ]


def commands(page, *names):
    """Return the commands of a page, as words, that begin with one of these names."""
    lines = [line.removeprefix(".venv/bin/") for line in code_lines(page)]
    return [shlex.split(line) for line in lines if line.startswith(names)]


@pytest.fixture(scope="module")
def known(kedro_project):
    """Names of pipelines and environments, and the base parameters."""
    with KedroSession.create(kedro_project, env="base") as session:
        given = session.load_context().config_loader["parameters"]
        names = set(pipelines)
    environments = {folder.name for folder in (ROOT / "conf").iterdir() if folder.is_dir()}
    return names, environments, given


@pages
def test_kedro_commands_exist(page, known):
    names, environments, given = known
    for words in commands(page, "kedro run", "UNFUSED_DATA=<folder> kedro run"):
        words = words[words.index("run") + 1 :]
        while words:
            option, _, value = words.pop(0).partition("=")
            value = value or (words.pop(0) if option == "--params" and words else "")
            if option == "--pipeline":
                assert value in names | {""}, (page.name, value)
            elif option == "--env":
                assert value in environments, (page.name, value)
            elif option == "--config":
                assert value.endswith(".yml"), (page.name, value)
            else:
                assert option == "--params", (page.name, option)
                for item in value.split(","):
                    assert has(given, item.partition("=")[0]), (page.name, item)


def has(given, dotted):
    if dotted in SHORT:
        return True
    for part in dotted.split("."):
        if not isinstance(given, dict) or part not in given:
            return False
        given = given[part]
    return True


@pages
def test_make_targets_exist(page):
    rules = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    for words in commands(page, "make "):
        assert words[1] in rules, (page.name, words)
        assert {word.partition("=")[0] for word in words[2:]} <= {
            "DATA",
            "UNLABELLED",
            "AUDIO",
            "ENV",
        }


def test_make_lists_every_target():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.search(r"^\.PHONY: (.*)$", text, re.M).group(1).split())
    assert phony == set(re.findall(r"^([a-z-]+):", text, re.M))
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = re.findall(r"^make ([a-z-]+) ", done.stdout, re.M)
    assert set(listed) == phony - {"help"}
    assert all(word in done.stdout for word in ("DATA=", "UNLABELLED=", "ENV="))


def test_the_study_is_refused_without_its_data():
    command = ["make", "--assume-old=.venv/demo", "results", "UNFUSED_DATA=", "RUN=false"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "UNFUSED_DATA is not set" in done.stderr


@pages
def test_links_resolve(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), (page.name, target)


@pages
def test_named_files_exist(page):
    roots = ("conf/base", "conf/local", "src", "docs", "notebooks", "tests", "benchmarks")
    for piece in re.findall(r"`([^`\n*<]+)`", page.read_text(encoding="utf-8")):
        if piece.startswith(tuple(f"{root}/" for root in roots)) and "local/" not in piece:
            assert (ROOT / piece).exists(), (page.name, piece)


@pages
def test_configuration_examples_are_valid(page):
    for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M):
        content = yaml.safe_load(block)
        for kind, model in (("tasks", params.Task), ("pools", params.Audio)):
            for entry in content.get(kind, {}).values():
                model(**entry)


def test_every_parameter_is_described():
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    described = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`([^`\n]+)`", page))))
    models = [
        model
        for model in vars(params).values()
        if isinstance(model, type) and issubclass(model, BaseModel)
    ]
    fields = {name for model in models for name in model.model_fields}
    fields |= set(params.names_in(params.TrainingSettings))
    assert fields - described == set()


@pytest.mark.parametrize("d", [512, 2048])
def test_the_table_of_cuts_is_what_the_code_has(d):
    page = (ROOT / "docs/method.md").read_text(encoding="utf-8")
    encoder = AudioNTT(d=d)
    for cut in encoder.taps:
        row = next(line for line in page.splitlines() if line.startswith(f"| `{cut}` |"))
        cells = [cell.strip() for cell in row.split("|")[2:]]
        parameters, dimension = cells[:2] if d == 512 else cells[3:5]
        short = encoder.truncated(cut)
        assert (parameters, dimension) == (f"{short.n_parameters:,}", str(short.dim))


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed")
def test_docs_build_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "method.html").is_file() or (tmp_path / "method/index.html").is_file()
