"""What README and docs tell people to type, open and set exists."""

import os
import re
import subprocess
import sys

import pytest
from pydantic import BaseModel

from unfused import params
from unfused.encoders import AudioNTT

from .docs_pages import PAGES, ROOT, name_of

UPPER = {"datasets", "params", "pipelines"}  # no library, but the project of Kedro
pages = pytest.mark.parametrize("page", PAGES, ids=name_of)


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


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The documentation, built in strict mode: a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_every_page_is_in_the_site(site):
    for page in (page for page in PAGES if page.parent != ROOT):
        assert (site / page.relative_to(ROOT / "docs")).with_suffix(".html").is_file()


def test_a_page_fetches_nothing_when_it_is_read(site):
    fetched = re.compile(r"""<(?:link|script|img|iframe)[^>]*(?:src|href)=["']?(?:https?:)?//""")
    for file in site.rglob("*.html"):
        assert not fetched.search(file.read_text(encoding="utf-8")), file
    for file in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?https?:", file.read_text(encoding="utf-8")), file


def test_every_public_module_of_the_library_is_in_the_reference(site):
    shown = "".join(file.read_text(encoding="utf-8") for file in site.glob("reference/*.html"))
    missing = [
        name
        for file in sorted((ROOT / "src/unfused").glob("*/**/*.py"))
        if (name := module_name(file)).split(".")[1] not in UPPER
        and not file.name.startswith("_")
        and public(file)
        and f'id="{name}"' not in shown
    ]
    assert not missing


def module_name(file):
    return ".".join(file.relative_to(ROOT / "src").with_suffix("").parts)


def public(file):
    """Return whether a module defines anything that others may use."""
    return bool(re.search(r"^(?:def|class) [A-Za-z]", file.read_text(encoding="utf-8"), re.M))


def test_every_parameter_has_its_row(site):
    page = (site / "reference/parameters.html").read_text(encoding="utf-8")
    rows = [
        re.findall(r"<td>(.*?)</td>", row, re.S) for row in re.findall(r"<tr>.*?</tr>", page, re.S)
    ]
    rows = [row for row in rows if row]
    assert len(rows) > 150
    assert not [row[0] for row in rows if not row[3].strip()]
    names = {re.sub(r"<[^>]+>", "", row[0]).split(".")[-1] for row in rows}
    assert {"alpha", "n_clusters", "seeds", "n_prototypes", "embed_dim", "clips_per_shard"} <= names


def test_docstrings_leave_no_markup_behind(site):
    for file in site.glob("reference/*.html"):
        text = re.sub(r"<[^>]+>", "", file.read_text(encoding="utf-8"))
        assert not re.search(r":(?:func|class|meth|mod|data|attr):|``", text), file
