"""The configuration loader: how the pipeline registry sees the same configuration as the run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader
from kedro.framework.project import pipelines, settings
from kedro.utils import find_kedro_project

from .packaged import packaged_configuration


def project_configuration() -> Path:
    """Return where the configuration of the working folder's project would be."""
    return Path(find_kedro_project(Path.cwd()) or Path.cwd()) / settings.CONF_SOURCE


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
        super().__init__(*args, **kwargs)
        ProjectConfigLoader._current = self
        # other configuration, other pipelines
        pipelines.configure(f"{__package__}.pipeline_registry")

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
