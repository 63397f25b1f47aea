"""What a failed run says: one paragraph where the user can help it, the traceback where not.

By the rules of the house, an error that the code raises names the value, the rule and the remedy;
so its words are enough. An error that nobody raised on purpose is a bug, and keeps its traceback.
"""

from __future__ import annotations

import dis
import errno
import re
from pathlib import Path

from kedro.framework.project import pipelines
from kedro.io import DatasetError
from omegaconf.errors import OmegaConfBaseException

from .core.errors import did_you_mean

PACKAGES = ("unfused", "kedro")
MACHINE = {  # what no code can foresee, whoever meets it
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EACCES: "change its permissions, or name another folder as data_root",
    errno.EPERM: "change its permissions, or name another folder as data_root",
    errno.EROFS: "name another folder as data_root",
    errno.EMFILE: "allow more open files (ulimit -n)",
}
# What numpy and pyarrow say of a full disk; their errors carry no number.
CUT_SHORT = r"problem writing element|requested and \d+ written|No space left"


def explanation(error: BaseException) -> str | None:
    """Return the words for a user's mistake, or None for a bug.

    Args:
        error: What ended the run.
    """
    if isinstance(error, DatasetError) and error.__cause__ is not None:
        inner = explanation(error.__cause__)
        named = isinstance(error.__cause__, DatasetError)  # the outer one adds the dataset's name
        return inner and (f"{str(error).partition(': ')[0]}: {inner}" if named else inner)
    if isinstance(error, OSError) and error.errno in MACHINE and not _raised_on_purpose(error):
        return f"{error}: {MACHINE[error.errno]}, then run the same command again"
    cut_short = isinstance(error, OSError) and re.search(CUT_SHORT, str(error))
    if cut_short and not _raised_on_purpose(error):
        return f"the disk is full ({error}): free some space, then run the same command again"
    if type(error).__name__ == "OutOfMemoryError":  # torch's; naming the class would import torch
        return (
            f"the device's memory is full ({str(error).split('. ')[0]}): set the training's "
            "batch_size lower, or --params device=cpu, then run the same command again"
        )
    if isinstance(error, OmegaConfBaseException):
        return f"the configuration cannot be read: {error}"
    return _words(error) if _raised_on_purpose(error) else None


def _raised_on_purpose(error: BaseException) -> bool:
    """Whether a ``raise`` of ours or of Kedro's made an error that is meant for users."""
    package = type(error).__module__.split(".")[0]
    if not (package in (*PACKAGES, "yaml") or isinstance(error, ValueError | OSError)):
        return False
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    frame = trace.tb_frame
    operation = dis.opname[frame.f_code.co_code[trace.tb_lasti]]
    where = str(frame.f_globals.get("__name__", "")).split(".")[0]
    return where in PACKAGES and operation == "RAISE_VARARGS"


def _words(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if text.startswith("Parameter validation failed:"):
        return "; ".join(_refused(part) for part in text.split("\n- ")[1:])
    if match := re.match("Failed to find the pipeline named '(.*?)'", text):
        known = sorted(pipelines)
        return f"{match[1]!r} is no pipeline: choose from {known}{did_you_mean(match[1], known)}"
    if text.startswith("Given configuration path"):
        folder = Path(text.rsplit(": ", 1)[-1])
        known = sorted(path.name for path in folder.parent.glob("*/"))
        if not known:
            return (
                f"{folder.parent} has no configuration: run in the project's folder, or name "
                "the folder with --conf-source"
            )
        return (
            f"--env={folder.name}: {folder.parent} has no such folder; choose from {known}"
            f"{did_you_mean(folder.name, known)}"
        )
    return text.strip()


def _refused(part: str) -> str:
    r"""Return ``group.name=value: rule`` from Kedro's and pydantic's words about one group.

    >>> _refused(
    ...     "Parameter 'run': Failed to instantiate Run for parameter 'run': 1 validation error "
    ...     "for Run\ndevice\n  Input should be 'cpu' [type=enum, input_value='x', input_type=str]"
    ... )
    "run.device='x': Input should be 'cpu'"
    """
    group, _, details = part.removeprefix("Parameter '").partition("': ")
    rule = r"(?:Value error, )?(.*) \[type=\w+, input_value=(.*), input_type=\w+\]"
    refused = []
    for name, words, value in re.findall(rf"\n(?:(\S+)\n)?  {rule}", details):
        where = f"{group}.{name}" if name else group
        refused.append(f"{where}: {words}" if value[0] in "{[" else f"{where}={value}: {words}")
    return "; ".join(refused) or f"{group}: {details}"
