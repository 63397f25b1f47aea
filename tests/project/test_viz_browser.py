"""The static site of Kedro-Viz, built after a run and opened in a browser."""

import json
import os
import subprocess
import sys

import pytest
from browser import Page, browser, installed, served

NODE = "document.querySelector('.pipeline-node[data-id=\"{}\"]')"
OF_KEDRO_VIZ = ("fonts.googleapis.com", "/api/metadata", "metadata fetch error")
"""What the site asks for in vain on any static server, whatever the project."""

pytestmark = pytest.mark.skipif(installed() is None, reason="no Chromium or Chrome installed")


@pytest.fixture(scope="module")
def site(kedro_project, finished, tmp_path_factory):
    """The folder of the static site, built from the shared finished run."""
    folder = tmp_path_factory.mktemp("site")
    script = (
        "import sys; from kedro.framework.cli.cli import main; "
        "import kedro_viz.integrations.deployment.base_deployer, kedro_viz.constants; "
        "sys.argv = ['kedro', 'viz', 'build', '--include-previews']; main()"
    )
    del script
    done = subprocess.run(
        [sys.executable, "-m", "kedro", "viz", "build", "--include-previews"],
        cwd=kedro_project,
        env={
            **os.environ,
            "KEDRO_ENV": "test",
            "UNFUSED_TEST_DATA_ROOT": str(finished.data),
            "DO_NOT_TRACK": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder
