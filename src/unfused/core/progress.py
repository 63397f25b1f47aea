"""Progress of work that takes more than a few seconds.

A bar appears on a terminal after some seconds and goes when the work is done. Where nobody watches,
in a file or a pipe, a line of its own says now and then how far it is. With ``TQDM_DISABLE`` in the
environment there is none.
"""

import math
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
    bar = tqdm if watched else _Lines
    return bar(iterable, disable=off, delay=DELAY, leave=False, **options)


class _Lines(tqdm):
    """Writes lines, and none because the log has one."""

    _shown = 0.0  # when the last one was written

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        last = self._shown or getattr(self, "start_t", math.inf)
        if msg is None and self._time() - last >= self.mininterval:
            self._shown = self._time()
            self.fp.write(f"{self}\n")
        return False

    def clear(self, nolock: bool = False) -> None:
        """Leave what was written."""
