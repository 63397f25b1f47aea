"""Kedro settings. Nothing heavy is imported here: it would delay every command."""

import warnings

from omegaconf.resolvers import oc

from .config import ProjectConfigLoader
from .hooks import RunHooks

# `--pipeline` is the spelling people know; Kedro 1.7 announces its removal on every use.
warnings.filterwarnings("ignore", message="Option '--pipeline' is deprecated")

HOOKS = (RunHooks(),)
CONFIG_LOADER_CLASS = ProjectConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft", "globals": "soft", "catalog": "soft"},
    "custom_resolvers": {"oc.env": oc.env},
}
