"""Notebooks run from top to bottom after a run, and carry no outputs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
FORGET = r"%reset_selective -f ^(?!(catalog|context|session|pipelines)$)"
"""Between notebooks in one process: all names but those that Kedro's extension makes."""


def cells(notebook, kind):
    content = json.loads(notebook.read_text(encoding="utf-8"))
    return [cell for cell in content["cells"] if cell["cell_type"] == kind]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(notebook):
    code = cells(notebook, "code")
    assert code
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_step_is_explained_and_links_lead_somewhere(notebook):
    words = cells(notebook, "markdown")
    assert 2 * len(words) >= len(cells(notebook, "code"))
    text = "\n".join("".join(cell["source"]) for cell in words)
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (notebook.parent / target).is_file(), target


def test_cells_run_after_a_run(finished, tmp_path):
    """All in one process, since starting one costs more than what the cells do."""
    script = tmp_path / "notebooks.ipy"
    parts = []
    for notebook in NOTEBOOKS:
        code = ["".join(cell["source"]) for cell in cells(notebook, "code")]
        parts += [*code, f"print('the end of {notebook.stem}')", FORGET]
    script.write_text("\n\n".join(parts), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--colors=NoColor", str(script)],
        cwd=NOTEBOOKS[0].parent,
        env={
            **os.environ,
            "KEDRO_ENV": "test",
            "UNFUSED_TEST_DATA_ROOT": str(finished.data),
            "MPLBACKEND": "Agg",
            "IPYTHONDIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for notebook in NOTEBOOKS:
        assert f"the end of {notebook.stem}" in done.stdout, done.stdout + done.stderr
    assert "; 1 cannot be used" in done.stdout
    assert re.search(r"accuracy on \d+ clips: [01]\.\d", done.stdout), done.stdout  # it has trained
