"""Where the configuration is, and what of it the pipelines are built by.

Which tasks and methods there are is configuration, and Kedro makes its pipelines without it. A hook
keeps the configuration of the session; where there are no hooks (``kedro registry list``,
``kedro viz``) it is read once more, for the environment ``$KEDRO_ENV``.
"""

import os
import re
from pathlib import Path
from typing import Any

from .core.errors import UserError
from .core.repeats import RUNS

_kept: dict[str, Any] = {}


def packaged_configuration() -> Path:
    """Return the folder with ``base`` and the other environments that came with the package.

    It is inside an installed package; in a repository it stands beside ``src/``.
    """
    package = Path(__file__).parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parents[1] / "conf"


def project() -> Path:
    """Return the folder of the project: the session's, else the one around the working folder."""
    from kedro.utils import find_kedro_project

    return Path(_kept.get("project") or find_kedro_project(Path.cwd()) or Path.cwd())


def keep(context: Any) -> None:
    """Let the pipelines be built by a session's configuration, which is read only once for that."""
    from kedro.framework.project import pipelines

    loader = context.config_loader
    loader["parameters"] = loader["parameters"]
    _kept.update(project=context.project_path, parameters=loader["parameters"])
    pipelines.configure(f"{__package__}.pipeline_registry")  # those of an earlier session are gone


def parameters() -> dict[str, Any]:
    """Return the parameters as configured, not validated."""
    if "parameters" not in _kept:
        from kedro.config import OmegaConfigLoader
        from kedro.framework.project import settings

        loader = OmegaConfigLoader(
            project() / settings.CONF_SOURCE,
            env=os.environ.get("KEDRO_ENV"),
            **settings.CONFIG_LOADER_ARGS,
        )
        _kept["parameters"] = loader["parameters"]
    return dict(_kept["parameters"])


def run_folder(data_root: str, run_name: object = None) -> str:
    """Return where a run leaves its tables and reports; the resolver ``run_folder`` of the catalog.

    Audio, log-mels and trained encoders lie under ``data_root`` of ``globals.yml``, where all runs
    find them; ``run_name`` is that of ``--params run_name=...``.

    Raises:
        UserError: The name would not be one folder.

    >>> run_folder("data"), run_folder("data", "k50")
    ('data', 'data/runs/k50')
    """
    if run_name is None:
        return data_root
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", str(run_name), flags=re.ASCII):
        raise UserError(
            f"run_name={str(run_name)!r} becomes a folder: use letters, digits, _, . and -, and "
            "begin with a letter or digit"
        )
    return f"{data_root}/{RUNS}/{run_name}"
