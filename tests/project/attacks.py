"""Attacks on what a run leaves: every file, five ways; and what the folder is to be afterwards."""

import re
import shutil
from hashlib import blake2b
from pathlib import Path

import pandas as pd

from unfused.core import outputs, written

TIMES = ["clips_per_second"]  # of a learning curve
OF_THE_MOMENT = {  # they say when and where they were made, or what was reused
    *("metrics.jsonl", "live.html", "report.html", "parameters.json"),
    *(outputs.RECORD, written.RECORD, "corpus.json"),
}


def truncate(file: Path, _other: Path | None) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path, _other: Path | None) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def empty(file: Path, _other: Path | None) -> None:
    file.write_bytes(b"")


def delete(file: Path, _other: Path | None) -> None:
    file.unlink()


def replace(file: Path, other: Path | None) -> None:
    if other is None:  # the other run has none of this name, or the same
        flip(file, None)
    else:
        shutil.copyfile(other, file)


ATTACKS = [truncate, flip, empty, delete, replace]


def files_below(folder: Path) -> list[Path]:
    """Return all files, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def attack(number: int, file: Path, root: Path, other_root: Path) -> str:
    """Do one of the attacks to a file, and return its name; the other folder is another run's."""
    wanted = _without_marks(file.relative_to(root))
    others = [
        path
        for path in other_root.rglob(file.name)
        if _without_marks(path.relative_to(other_root)) == wanted
        and path.read_bytes() != file.read_bytes()
    ]
    way = ATTACKS[number % len(ATTACKS)]
    way(file, others[0] if others else None)
    return way.__name__


def contents(folder: Path) -> dict[str, str]:
    """Return what every file says, as a hash, leaving out times and places."""
    found = {}
    for file in files_below(folder):
        said = file.read_bytes()
        if file.name in OF_THE_MOMENT:
            said = b""
        elif file.name.endswith("history.parquet"):
            table = pd.read_parquet(file).drop(columns=TIMES, errors="ignore")
            said = table.to_csv().encode()
        found[str(file.relative_to(folder))] = blake2b(said).hexdigest()
    return found


def another_process() -> None:
    """Forget what this process has compared and built."""
    outputs._compared.clear()
    outputs._built.clear()


def _without_marks(path: Path) -> str:
    return re.sub(r"-[0-9a-f]{12}", "", str(path))
