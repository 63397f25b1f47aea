"""Where a trained encoder comes from, in JSON values."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("unfused", "torch", "numpy", "scikit-learn", "soundfile", "soxr")


def provenance(
    *, method: str, seed: int, parameters: Mapping[str, Any], **more: Any
) -> dict[str, Any]:
    """Return how an encoder was made: the arguments, versions and the git commit of the code."""
    facts = {"method": method, "seed": seed, "parameters": dict(parameters), **more}
    return {**facts, "versions": versions(), "git_commit": git_commit()}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages a result depends on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def git_commit(folder: Path = Path(__file__).parent) -> str | None:
    """Return the git commit of the code in a folder; None outside a checkout."""
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
