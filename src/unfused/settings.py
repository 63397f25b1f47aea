"""Kedro settings. Nothing heavy is imported here: it would delay every command."""

import os
import warnings

from omegaconf.resolvers import oc

from .config import ProjectConfigLoader
from .hooks import CheckHooks
from .run_log import RunLog
from .tracking import TrackingHooks

# A link after each refused parameter would hide what was wrong with it.
os.environ.setdefault("PYDANTIC_ERRORS_INCLUDE_URL", "0")

# What Kedro would say on every command of this project, and what we mean by it:
for message in (
    "Option '--pipeline' is deprecated",  # it is the spelling people know
    "One or more dataset names contain '.'",  # nodes that join what several namespaces made
    "Namespace '.*' is interrupted by nodes",  # a task's data stand before its method
):
    warnings.filterwarnings("ignore", message=message)

HOOKS = (RunLog(), TrackingHooks(), CheckHooks())  # pluggy calls the last one first
CONFIG_LOADER_CLASS = ProjectConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft", "globals": "soft", "catalog": "soft"},
    "custom_resolvers": {"oc.env": oc.env},
}
