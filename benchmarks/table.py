"""What the benchmarks share: a row, how it is measured, and the table of all rows.

A row compares costs, of which less is better: what this project takes, and what the plain way of
doing the same takes, in the same process and on the same data. Or it holds a cost to a budget.

python benchmarks/table.py prints benchmarks/results.json, as `make bench` does at its end.
"""

from __future__ import annotations

import ctypes
import gc
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow
import torch

from unfused.training.precision import keep_freed_memory

RESULTS = Path(__file__).with_name("results.json")
LONG = "--long" in sys.argv
"""Whether rows that take many minutes are asked for, too."""


class Row(NamedTuple):
    """One row of the table.

    Attributes:
        name: What was done.
        ours: Its cost here.
        baseline: Cost of the plain way; None where a budget is the target.
        target: At least this ratio, baseline / ours; without a baseline at most this cost. None:
            nothing is asked for.
        unit: Of the costs.
    """

    name: str
    ours: float
    baseline: float | None
    target: float | None
    unit: str

    @property
    def ratio(self) -> float | None:
        """How many times what we take the plain way takes."""
        return None if self.baseline is None else self.baseline / self.ours

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        if self.target is None:
            return True
        return self.ours <= self.target if self.ratio is None else self.ratio >= self.target

    def line(self) -> str:
        """Return it as a line of a Markdown table."""
        cells = [self.name, f"{self.ours:.3g}", "", self.unit, "", "", ""]
        if self.baseline is not None:
            cells[2], cells[4] = f"{self.baseline:.3g}", f"{self.ratio:.3g}"
        if self.target is not None:
            limit = "at most" if self.baseline is None else "ratio of"
            cells[5:] = f"{limit} {self.target}", "yes" if self.met else "**no**"
        return f"| {' | '.join(cells)} |"


def measure(*benchmarks: Callable[[], Iterator[Row]]) -> None:
    """Run benchmarks, put their rows into results.json in place of older ones, print them.

    Words on the command line choose those that have one of them in their names.
    """
    torch.set_num_threads(1)
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    found = []
    for benchmark in benchmarks:
        if words and not any(word in benchmark.__name__ for word in words):
            continue
        for row in benchmark():
            print(row.line(), file=sys.stderr, flush=True)
            found.append(row)
            kept = [old for old in read() if old.name != row.name]
            rows = [{**each._asdict(), "ratio": each.ratio} for each in [*kept, row]]
            RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    show(found)


def read() -> list[Row]:
    """Return the rows of results.json."""
    if not RESULTS.exists():
        return []
    entries = json.loads(RESULTS.read_text(encoding="utf-8"))
    return [Row(**{name: entry[name] for name in Row._fields}) for entry in entries]


def show(rows: list[Row]) -> None:
    """Print a table."""
    print("| | ours | plain | unit | ratio | target | met |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(row.line() for row in rows))


def least(
    repeats: int,
    *ways: Callable[[], Any],
    clock: Callable[[], float] = time.process_time,
    warm_up: bool = True,
) -> list[float]:
    """Return the least CPU seconds of this process that each way takes; they take turns.

    A busy machine then disturbs little, and all alike.
    """
    if warm_up:
        for way in ways:
            way()
    taken: list[list[float]] = [[] for _ in ways]
    for _ in range(repeats):
        for way, seconds in zip(ways, taken, strict=True):
            begin = clock()
            way()
            seconds.append(clock() - begin)
    return [min(seconds) for seconds in taken]


def peak(work: Callable[[], Any]) -> float:
    """Return by how many GiB the memory of this process rises at most (Linux)."""
    gc.collect()
    pyarrow.default_memory_pool().release_unused()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what earlier work has left is none of its own
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status("VmRSS")
    work()
    return (_status("VmHWM") - before) / 2**20


def _status(name: str) -> int:
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.findall(rf"{name}:\s+(\d+) kB", text)[0])


def allocator(kept: bool) -> None:
    """Let freed memory stay in the process as in our trainings, or go back as glibc does it."""
    if kept:
        keep_freed_memory.__wrapped__()
        return
    for option, size in ((-3, 2**25), (-1, 2**26)):  # M_MMAP_ and M_TRIM_THRESHOLD, at their most
        ctypes.CDLL("libc.so.6").mallopt(option, size)


if __name__ == "__main__":
    show(read())
