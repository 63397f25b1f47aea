"""The package away from its repository: a wheel with its configuration, run in an empty folder."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest
import yaml
from click.testing import CliRunner
from kedro.config import OmegaConfigLoader

import unfused
from unfused import config
from unfused.cli import cli, take_packaged_configuration
from unfused.config import packaged_configuration
from unfused.settings import CONFIG_LOADER_ARGS

from .conftest import TINY, nest


def loader(source=None, env=None):
    """Return the configuration that ``run`` takes, given ``--conf-source`` and ``--env``."""
    params = {"conf_source": source, "env": env}
    take_packaged_configuration(params)
    return OmegaConfigLoader(params["conf_source"], env=params["env"], **CONFIG_LOADER_ARGS)


def entry(folder, env, alpha):
    """Write ``conf/<env>`` in a folder."""
    file = folder / "conf" / env / "parameters/mine.yml"
    file.parent.mkdir(parents=True)
    file.write_text(yaml.safe_dump({"unfused": {"distillation": {"alpha": alpha}}}))


def alpha_of(configuration):
    return configuration["parameters"]["unfused"]["distillation"]["alpha"]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty working folder, below one whose name begins with a dot."""
    folder = tmp_path / ".hidden" / "work"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("KEDRO_ENV", raising=False)
    monkeypatch.setattr(config, "_kept", {})  # that of a session before
    return folder


def test_the_version_has_one_place(project_root):
    text = (project_root / "pyproject.toml").read_text(encoding="utf-8")
    assert not re.search(r'^version = "', text, flags=re.MULTILINE)
    assert re.search(r"^version = \{attr = \"unfused.__version__\"\}", text, flags=re.MULTILINE)
    shown = CliRunner().invoke(cli, ["--version"])
    assert shown.output.split()[-1] == unfused.__version__


def test_the_changelog_speaks_of_this_version(project_root):
    text = (project_root / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## \[([^\]]+)\]", text, flags=re.MULTILINE)
    assert sections[0] == "Unreleased"
    release = unfused.__version__.partition(".dev")[0]
    assert release in sections or unfused.__version__ != release


def test_own_folders_go_before_the_packages(elsewhere):
    base = alpha_of(loader())
    assert base == alpha_of(loader(str(packaged_configuration())))
    entry(elsewhere, "local", base / 2)
    entry(elsewhere, "mine", base / 4)
    assert alpha_of(loader()) == base / 2
    assert alpha_of(loader(env="mine")) == base / 4
    assert alpha_of(loader(env="gpu")) == base


def test_a_configuration_that_is_named_stands_alone(elsewhere, tmp_path):
    shutil.copytree(packaged_configuration(), tmp_path / "conf")
    entry(elsewhere, "gpu", 0.125)
    assert alpha_of(loader(str(tmp_path / "conf"), env="gpu")) != 0.125


def test_options_alone_are_those_of_run(elsewhere):
    done = subprocess.run(
        [sys.executable, "-m", "unfused", "--env=nope"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "conf/nope" in done.stderr
    assert "Using" not in done.stdout  # the project's logging, not Kedro's


@pytest.fixture(scope="module")
def distributions(project_root, tmp_path_factory):
    """What ``kedro package`` and ``python -m build --sdist`` leave in ``dist``."""
    if not (project_root / ".git").exists():
        pytest.skip("a source distribution is compared with a repository, and here is none")
    copy = tmp_path_factory.mktemp("repository")
    for name in tracked(project_root):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(project_root / name, copy / name)
    (copy / "conf/local/parameters.yml").write_text("secret: 1\n")
    for command in (["kedro", "package"], ["build", "--sdist"]):
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=copy, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return copy / "dist"


def tracked(root):
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listed, cwd=root, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.splitlines() if (root / name).is_file()]


@pytest.mark.slow
def test_a_wheel_has_the_configuration_and_nothing_private(distributions, project_root):
    (wheel,) = distributions.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    for file in tracked(project_root):
        if file.startswith("conf/") and not file.startswith("conf/local/"):
            assert f"unfused/{file}" in inside
        if file.startswith("src/unfused/"):
            assert file.removeprefix("src/") in inside
    assert [name for name in inside if "conf/local/" in name] == ["unfused/conf/local/.gitkeep"]
    (archive,) = distributions.glob("conf-*.tar.gz")
    assert not any("local/" in name and name.endswith(".yml") for name in names_in(archive))


@pytest.mark.slow
def test_a_source_distribution_is_whole(distributions, project_root):
    (archive,) = distributions.glob("unfused-*.tar.gz")
    inside = {name.partition("/")[2] for name in names_in(archive)}
    assert set(tracked(project_root)) - inside == set()
    assert "conf/local/parameters.yml" not in inside


def names_in(archive):
    with tarfile.open(archive) as file:
        return file.getnames()


@pytest.mark.slow
def test_a_wheel_runs_in_an_empty_folder(distributions, class_folders, elsewhere, tmp_path):
    (wheel,) = distributions.glob("*.whl")
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    subprocess.run([*install, target, wheel], check=True)
    own = elsewhere / "conf/local/parameters"
    own.mkdir(parents=True)
    (own / "tiny.yml").write_text(yaml.safe_dump(nest({**TINY, "unfused.distillation.alpha": 0.5})))
    environment = {**os.environ, "PYTHONPATH": str(target), "OMP_NUM_THREADS": "1"}

    def run(*words):
        done = subprocess.run(
            [sys.executable, *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    where = "import unfused.config as p; print(p.packaged_configuration())"
    assert run("-c", where).strip() == str(target / "unfused/conf")
    assert unfused.__version__ in run("-m", "unfused", "--version")
    report = elsewhere / "data/08_reporting/report.html"
    output = run("-m", "unfused", "run", "--pipelines=unfused", "--params", f"data={class_folders}")
    assert output.rstrip().endswith(str(report.resolve()))
    listed = elsewhere / "data/07_model_output/own_data/students.json"
    students = json.loads(listed.read_text(encoding="utf-8"))
    student = listed.parent / students["teacher-seed0-fold0/student"] / "encoder.json"
    facts = json.loads(student.read_text(encoding="utf-8"))
    assert facts["provenance"]["parameters"]["method"]["alpha"] == 0.5
    assert report.stat().st_size > 0
    assert "make " not in output
    archive = next(distributions.glob("conf-*.tar.gz"))
    run(
        "-m", "unfused", "--conf-source", str(archive), "--env=test", "--pipelines=data_engineering"
    )
    assert (elsewhere / "data/test/03_primary").is_dir()


@pytest.mark.slow
def test_a_fresh_clone_runs(project_root, tmp_path):
    if not (project_root / ".git").exists():
        pytest.skip("here is no repository to clone")
    clone = tmp_path / "a clone"
    subprocess.run(["git", "clone", "--quiet", project_root, clone], check=True)
    done = subprocess.run(
        [sys.executable, "-m", "kedro", "run", "--pipelines=unfused", "--env=test"],
        cwd=clone,
        env={**os.environ, "PYTHONPATH": str(clone / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (clone / "data/test/08_reporting/report.html").is_file()
    status = ["git", "status", "--porcelain"]
    left = subprocess.run(status, cwd=clone, capture_output=True, text=True, check=True)
    assert left.stdout == ""
