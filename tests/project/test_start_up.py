"""Commands that run nothing start fast: nothing heavy is imported for them."""

import subprocess
import sys

import pytest

LISTING = """
import runpy, sys
sys.argv = ["kedro", *sys.argv[1:]]
try:
    runpy.run_module("kedro", run_name="__main__")
except SystemExit as stop:
    status = stop.code
heavy = {"torch", "torchaudio", "sklearn", "matplotlib.pyplot", "scipy"} & set(sys.modules)
sys.exit(f"imported at start-up: {heavy}" if heavy else status)
"""


@pytest.mark.parametrize(
    ("command", "expected"), [(["registry", "list"], "- unfused"), (["--version"], "kedro")]
)
def test_a_command_imports_nothing_heavy(project_root, command, expected):
    done = subprocess.run(
        [sys.executable, "-c", LISTING, *command],
        cwd=project_root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
