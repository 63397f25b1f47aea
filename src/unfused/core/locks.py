"""Locks between processes: files that say who holds them, and that the system frees of the dead."""

import atexit
import errno
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import UserError

try:
    import fcntl
except ImportError:  # Windows has other locks: there nothing is locked
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)
_FREE = -1
_NOTES = ".running-*.json"
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


@contextmanager
def locked(file: Path, what: str = "") -> Iterator[None]:
    """Hold a lock, which is a file that is there as long as it is held; wait for it if need be.

    A process that ends in any way holds it no more. One process may wait for itself. A wait
    is logged by ``what`` is waited for; "": it never takes long.
    """
    held = _take(file)
    while held is None:  # of another process
        if what:
            log.info("waiting for %s, which %s is making", what, _holder(file))
        held = _take(file, wait=True)
    try:
        yield
    finally:
        _release(file, held)


class Claim:
    """The right to write some files, held by one process at a time until it ends or gives it back.

    Who writes what is noted in the folder.

    Raises:
        UserError: Another process holds some of them; the message says which and since when.
    """

    def __init__(self, folder: Path, files: Iterable[str]) -> None:
        names = sorted(files)
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / f".running-{socket.gethostname()}-{os.getpid()}.json"
        with locked(folder / ".running.lock"):
            for other in _held(folder.glob(_NOTES)):
                if both := set(names).intersection(_said_by(other).get("writes", ())):
                    raise UserError(
                        f"{_holder(other)} is writing {min(both)}: let it end, or write to another "
                        f"folder than {folder}",
                        remedy="folder",
                    )
            self._held = _take(self._file, names)
        atexit.register(self.release)

    def release(self) -> None:
        """Give it back; more than once does no harm."""
        if self._held is not None:
            _release(self._file, self._held)
        self._held = None


def _take(file: Path, writes: Iterable[str] = (), *, wait: bool = False) -> int | None:
    """Return an open lock that says whose it is; None if another process holds it or held it.

    Where the system has no such locks (Windows, some file systems of clusters) all are free: -1.
    """
    if fcntl is None:
        return _FREE
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if not os.path.samestat(os.fstat(handle), os.stat(file)):
            raise BlockingIOError  # its holder has removed it meanwhile
    except (BlockingIOError, FileNotFoundError):
        os.close(handle)
        return None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        log.warning("no locks on the file system of %s: start one run at a time there", file.parent)
        _release(file, handle)
        return _FREE
    whose = {"process": os.getpid(), "host": socket.gethostname(), "since": time.ctime()}
    os.truncate(handle, 0)
    os.pwrite(handle, json.dumps({**whose, "writes": list(writes)}).encode(), 0)
    return handle


def _release(file: Path, held: int) -> None:
    if held == _FREE:
        return
    file.unlink(missing_ok=True)
    os.close(held)


def _held(files: Iterable[Path]) -> Iterator[Path]:
    """Yield the locks that other processes hold; those of processes that are no more go."""
    for file in files:
        if (held := _take(file)) is None:
            yield file
        else:
            _release(file, held)


def _said_by(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # it has just ended
        return {}


def _holder(file: Path) -> str:
    if not (said := _said_by(file)):
        return "another process"
    return f"process {said['process']} on {said['host']} (since {said['since']})"


if __name__ == "__main__":  # for `make clean`
    _folder = Path(sys.argv[1])
    if _at_work := [_holder(file) for file in _held(sorted(_folder.rglob(_NOTES)))]:
        sys.exit(f"{', '.join(_at_work)} is at work in {_folder}: let it end first")
