"""Progress of work that takes more than a few seconds.

A bar appears on a terminal after some seconds and goes when the work is done. Where nobody watches,
in a file or a pipe, it is written anew now and then. With ``TQDM_DISABLE`` in the environment there
is none.
"""

import os
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

DELAY = 2.0  # seconds


def progress(
    iterable: Iterable[Any] | None = None, *, quiet: bool = False, **options: Any
) -> "tqdm[Any]":
    """Return a progress bar, which is a context manager.

    Without an iterable call ``update(n)``. ``quiet`` shows nothing (another process does); further
    options are tqdm's: ``total``, ``desc`` and ``unit``, perhaps ``initial``.
    """
    watched = sys.stderr is not None and sys.stderr.isatty()
    options |= {"mininterval": 0.1 if watched else 30.0, "dynamic_ncols": watched}
    off = quiet or bool(os.environ.get("TQDM_DISABLE"))
    return tqdm(iterable, disable=off, delay=DELAY, leave=False, **options)
