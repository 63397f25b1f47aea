"""``kedro`` as a process of its own that begins where everything is imported."""

import os
import sys
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path


class Forked:
    """Has of :class:`subprocess.Popen` what tests use; the output goes to a file.

    Args:
        arguments: Of ``kedro``.
        cwd: The project.
        env: Variables of the environment.
        output: Where what it says is kept.
    """

    def __init__(self, arguments: list[str], cwd: Path, env: dict[str, str], output: Path):
        self._output = output
        self._process = get_context("forkserver").Process(
            target=_kedro, args=(arguments, cwd, env, output)
        )
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):  # it has ended
            os.kill(self.pid, number)

    def communicate(self, timeout: float) -> tuple[str, None]:
        self._process.join(timeout)
        assert self.returncode is not None, f"no end within {timeout} s"
        return self._output.read_text(encoding="utf-8"), None


def _kedro(arguments: list[str], cwd: Path, env: dict[str, str], output: Path) -> None:
    os.chdir(cwd)
    os.environ.update(env)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.argv = ["kedro", *arguments]
    from kedro.framework.cli import main

    main()
