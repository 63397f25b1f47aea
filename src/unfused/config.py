"""The configuration loader: how the pipeline registry sees the same configuration as the run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader
from kedro.framework.project import pipelines, settings
from kedro.utils import find_kedro_project


class ProjectConfigLoader(OmegaConfigLoader):
    """An ``OmegaConfigLoader`` that remembers its newest instance.

    Kedro makes one loader per session, in every entry point that has a session and before it asks
    for the pipelines; so the registry, which builds one namespace per configured task and method,
    reads the environment, ``--params`` and ``--conf-source`` of the run itself.
    """

    _current: OmegaConfigLoader | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        ProjectConfigLoader._current = self
        # other configuration, other pipelines
        pipelines.configure(f"{__package__}.pipeline_registry")

    @classmethod
    def current(cls) -> OmegaConfigLoader:
        """Return the loader in use; without a session one for ``$KEDRO_ENV``."""
        if cls._current is None:
            root = find_kedro_project(Path.cwd()) or Path.cwd()
            cls(
                str(root / settings.CONF_SOURCE),
                env=os.getenv("KEDRO_ENV"),
                **settings.CONFIG_LOADER_ARGS,
            )
        assert cls._current is not None
        return cls._current
