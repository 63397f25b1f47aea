"""The configuration loader: how the pipeline registry sees the same configuration as the run."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader
from kedro.framework.project import pipelines, settings
from kedro.utils import find_kedro_project

from .core.errors import UserError
from .core.runs import RUNS
from .packaged import packaged_configuration


def project_configuration() -> Path:
    """Return where the configuration of the working folder's project would be."""
    return Path(find_kedro_project(Path.cwd()) or Path.cwd()) / settings.CONF_SOURCE


def folders(given: Mapping[str, Any], run_name: object) -> dict[str, Any]:
    """Return the globals with the folders of a run.

    What a run without a name writes lies under ``data_root``. Runs with a name share its raw audio,
    manifests and log-mels as ``shared_root``; the rest of each lies under ``runs/<run_name>``,
    which takes the place of ``data_root``.

    Args:
        given: ``globals.yml``, merged over environments.
        run_name: Of ``--params run_name=...``; None: the run has no name.

    Raises:
        ValueError: The name would not be one folder.

    >>> folders({"data_root": "data"}, "k50")
    {'data_root': 'data/runs/k50', 'shared_root': 'data'}
    """
    shared = given["data_root"]
    if run_name is None:
        return {**given, "shared_root": shared}
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", str(run_name), flags=re.ASCII):
        raise UserError(
            f"run_name={str(run_name)!r} becomes a folder: use letters, digits, _, . and -, and "
            "begin with a letter or digit"
        )
    return {**given, "data_root": f"{shared}/{RUNS}/{run_name}", "shared_root": shared}


class ProjectConfigLoader(OmegaConfigLoader):
    """An ``OmegaConfigLoader`` that remembers its newest instance.

    Kedro makes one loader per session, in every entry point that has a session and before it asks
    for the pipelines; so the registry, which builds one namespace per configured task and method,
    reads the environment, ``--params`` and ``--conf-source`` of the run itself.

    Where the configuration is the package's own, an environment's folder under ``conf/`` of the
    working folder goes before the package's.
    """

    _current: OmegaConfigLoader | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._merged: dict[str, dict[str, Any]] = {}
        super().__init__(*args, **kwargs)
        self["globals"] = folders(self["globals"], (self.runtime_params or {}).get("run_name"))
        ProjectConfigLoader._current = self
        # other configuration, other pipelines
        pipelines.configure(f"{__package__}.pipeline_registry")

    def __getitem__(self, key: str) -> dict[str, Any]:
        """Return a kind of configuration, which is read once: a run asks for it several times."""
        if key in self:  # set, not read
            return super().__getitem__(key)
        if key not in self._merged:
            self._merged[key] = super().__getitem__(key)
        return deepcopy(self._merged[key])

    def _get_conf_env_path(self, env: str) -> str:
        own = project_configuration() / env
        if own.is_dir() and Path(self.conf_source) == packaged_configuration():
            return str(own)
        return super()._get_conf_env_path(env)

    def _is_hidden(self, path_str: str) -> bool:
        inside = project_configuration()
        path = Path(path_str).absolute()
        if path.is_relative_to(inside):  # the folders above are not the configuration's
            return any(part.startswith(".") for part in path.relative_to(inside).parts)
        return super()._is_hidden(path_str)

    @classmethod
    def current(cls) -> OmegaConfigLoader:
        """Return the loader in use; without a session one for ``$KEDRO_ENV``."""
        if cls._current is None:
            cls(
                str(project_configuration()),
                env=os.getenv("KEDRO_ENV"),
                **settings.CONFIG_LOADER_ARGS,
            )
        assert cls._current is not None
        return cls._current
