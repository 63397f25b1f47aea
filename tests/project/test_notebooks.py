"""Notebooks run from top to bottom after a run, and carry no outputs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))


def code_cells(notebook):
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(notebook):
    cells = code_cells(notebook)
    assert cells
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_run_after_a_run(notebook, finished, tmp_path):
    script = tmp_path / f"{notebook.stem}.ipy"
    cells = ["".join(cell["source"]) for cell in code_cells(notebook)]
    script.write_text("\n\n".join([*cells, "print('the end')"]), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--colors=NoColor", str(script)],
        cwd=notebook.parent,
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
    assert "the end" in done.stdout, done.stdout + done.stderr
