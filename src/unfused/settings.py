"""Kedro's settings. Nothing heavy is imported here: it would delay every command."""

import os
import warnings

from omegaconf.resolvers import oc

from .config import run_folder
from .hooks import ProjectHooks
from .tracking import TrackingHooks

# A link after each refused parameter would hide what was wrong with it.
os.environ.setdefault("PYDANTIC_ERRORS_INCLUDE_URL", "0")

# What Kedro would say on every command of this project; docs/reliability.md says why we mean it.
for message in (
    "One or more dataset names contain '.'",
    "Namespace '.*' is interrupted by nodes",
    "The 'preview_fn' feature is experimental",
):
    warnings.filterwarnings("ignore", message=message)

HOOKS = (TrackingHooks(), ProjectHooks())  # pluggy calls the last one first
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "ignore_hidden": False,  # an installed package may lie below a folder such as .venv
    "merge_strategy": {"parameters": "soft", "globals": "soft"},
    "custom_resolvers": {"oc.env": oc.env, "run_folder": run_folder},
}
