"""Where a trained encoder comes from, in JSON values."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("unfused", "torch", "numpy", "scikit-learn", "soundfile", "soxr")


def provenance(
    *,
    method: str,
    seed: int,
    parameters: Mapping[str, Any],
    fold: int | None = None,
    data: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return what it takes to know how an encoder was made.

    Args:
        method: The method that trained it.
        seed: The run's seed.
        parameters: The resolved parameters.
        fold: The held-out fold; None where there is none.
        data: Fingerprint of the training data; None where it saw no data.
        **more: Anything else worth keeping, e.g. ``transductive=True``.

    Returns:
        The arguments, the versions of Python and the packages that matter, and the git commit of
        the code (None outside a git checkout).
    """
    return {
        "method": method,
        "seed": seed,
        "fold": fold,
        "parameters": dict(parameters),
        "data": data,
        "versions": versions(),
        "git_commit": git_commit(),
        **more,
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages a result depends on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def git_commit(folder: Path | None = None) -> str | None:
    """Return the git commit of the code in ``folder``, or None.

    Args:
        folder: A folder in the checkout; None: this package's own.
    """
    folder = folder or Path(__file__).parent
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
