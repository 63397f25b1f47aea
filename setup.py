"""The one thing that pyproject.toml cannot say: a wheel carries the configuration.

``conf/`` stands beside ``src/`` in the repository and becomes ``unfused/conf`` in a wheel. An
editable installation reads it where it stands.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class BuildWithConfiguration(build_py):
    """Build the package, then copy the configuration into it."""

    def run(self) -> None:
        """Copy every environment; of ``conf/local``, which is the user's own, only the folder."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "unfused/conf"
        shutil.rmtree(target, ignore_errors=True)  # what an earlier build left
        shutil.copytree(ROOT / "conf", target, ignore=_private)


def _private(folder: str, names: list[str]) -> set[str]:
    local = Path(folder).name == "local"
    return {name for name in names if name != ".gitkeep" and (local or name.startswith("."))}


setup(cmdclass={"build_py": BuildWithConfiguration})
