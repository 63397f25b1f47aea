"""The command ``unfused``, which works in any folder: ``unfused run --pipelines=unfused``.

In a folder with a ``conf/base`` that configuration holds, as with ``kedro run``. Elsewhere it is
the package's own; folders of ``conf/`` that are there, such as ``conf/local``, go before it.
Results lie under ``data/`` of the folder either way.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .config import packaged_configuration


def main(args: Sequence[str] | None = None, **options: Any) -> Any:
    """Run a command of this package.

    Args:
        args: The command line; None: the process's. Options alone are those of ``run``, which is
            how deployment tools of Kedro call a packaged project.
        **options: Passed on to click.
    """
    os.environ.setdefault("DO_NOT_TRACK", "1")
    if not Path("conf/logging.yml").is_file():  # Kedro reads it when it is imported
        os.environ.setdefault("KEDRO_LOGGING_CONFIG", str(packaged_configuration() / "logging.yml"))
    from kedro.framework.project import configure_project

    configure_project(__package__)
    from .cli import cli

    words = list(sys.argv[1:] if args is None else args)
    if words and words[0].startswith("-") and words[0] not in ("--help", "--version"):
        words.insert(0, "run")
    options.setdefault("standalone_mode", not hasattr(sys, "ps1"))
    return cli(words, prog_name=__package__, **options)


if __name__ == "__main__":
    main()
