"""Stopping between two steps when the user or the machine asks for it."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

log = logging.getLogger(__name__)


class StopRequest:
    """Turn SIGINT and SIGTERM into a flag that the loop reads between two steps.

    A signal in the middle of a step would leave a method half updated. The first signal sets
    :attr:`requested`; a second one acts at once, as without this class. In other threads than the
    main one nothing is changed, since Python delivers signals only there.
    """

    def __init__(self) -> None:
        self.requested: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.requested = number
        self._restore()
        log.warning(
            "%s: stopping after this step; a second signal stops at once",
            signal.Signals(number).name,
        )

    def end(self, number: int) -> None:
        """Raise what a signal would have raised.

        Args:
            number: The signal, received here or, of several processes, in another one.

        Raises:
            KeyboardInterrupt: On SIGINT.
            SystemExit: On SIGTERM, with its exit status.
        """
        if number == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt
