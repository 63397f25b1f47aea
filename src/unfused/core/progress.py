"""Progress of work that takes more than a few seconds: a bar on a terminal, else lines in the log.

A bar appears only after some seconds and goes when the work is done, so that what stays on the
screen are the lines of the log. Where nobody watches, in a file or a pipe, a line in the log says
now and then how far the work is. With ``TQDM_DISABLE`` in the environment there is neither.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

log = logging.getLogger(__name__)
BAR_AFTER, LINE_EVERY = 2.0, 30.0  # seconds


class LoggedProgress:
    """What :class:`tqdm.tqdm` is on a terminal, as lines in the log.

    Args:
        iterable: What is gone through; None: :meth:`update` is called instead.
        total: How much there is to do.
        desc: What is done.
        unit: Of what.
        initial: How much is done already.
        every: Seconds from one line to the next.
        clock: Returns seconds.
    """

    def __init__(
        self,
        iterable: Iterable[Any] | None = None,
        *,
        total: int,
        desc: str,
        unit: str,
        initial: int = 0,
        every: float = LINE_EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._iterable, self._total, self._what = iterable, total, (desc, unit)
        self._done = self._initial = initial
        self._every, self._clock = every, clock
        self._began = self._said = clock()
        self._note = ""

    def __iter__(self) -> Iterator[Any]:
        assert self._iterable is not None
        for item in self._iterable:
            yield item
            self.update()

    def __enter__(self) -> LoggedProgress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing has to be closed."""

    def set_postfix(self, refresh: bool = True, **facts: object) -> None:
        """Add facts to the next line."""
        self._note = "".join(f", {name} {value}" for name, value in facts.items())

    def update(self, n: int = 1) -> None:
        """Count ``n`` more as done; log a line if the last one is old enough."""
        self._done += n
        now = self._clock()
        if self._done >= self._total or now - self._said < self._every:
            return
        self._said = now
        desc, unit = self._what
        rate = (self._done - self._initial) / (now - self._began)
        left = "?" if rate <= 0 else tqdm.format_interval((self._total - self._done) / rate)
        log.info(
            "%s: %s of %s %ss, %.3g %ss/s, %s left%s",
            *(desc, f"{self._done:,}", f"{self._total:,}", unit, rate, unit, left, self._note),
        )


def progress(
    iterable: Iterable[Any] | None = None,
    *,
    total: int,
    desc: str,
    unit: str,
    initial: int = 0,
    quiet: bool = False,
) -> Any:
    """Return a progress bar, or what stands for it; both are context managers.

    Args:
        iterable: What is gone through; None: call ``update(n)``.
        total: How much there is to do.
        desc: What is done, in a word or two.
        unit: Of what, in the singular.
        initial: How much is done already.
        quiet: Show nothing (another process does).
    """
    shown: dict[str, Any] = {"total": total, "desc": desc, "unit": unit, "initial": initial}
    hidden = quiet or bool(os.environ.get("TQDM_DISABLE"))
    if hidden or sys.stderr.isatty():
        return tqdm(
            iterable, **shown, disable=hidden, delay=BAR_AFTER, leave=False, dynamic_ncols=True
        )
    return LoggedProgress(iterable, **shown)


def lines_above_bars() -> AbstractContextManager[None]:
    """Let lines of the log appear above a progress bar instead of in it."""
    watched = sys.stderr is not None and sys.stderr.isatty()
    return logging_redirect_tqdm() if watched else nullcontext()
