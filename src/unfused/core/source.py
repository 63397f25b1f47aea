"""The source code that decides a result, as part of what made it."""

import ast
import hashlib
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
NOT_FOLLOWED = ("core", "data", "reporting")
"""Rooms that find outputs again, count, log and draw, or whose results have marks of their own."""
DECIDES = ("core.seeding", "core.distributed", "core.repeats", "data.label_sets", "data.shards",
           "data.store")  # fmt: skip
"""Modules of these rooms that are followed all the same."""


def source_digest(*modules: str, follow: Sequence[str] = ()) -> str:
    """Return a hash of some modules' code and of all modules of this package that they import.

    Docstrings, comments and layout do not count, so editing them rebuilds nothing. Names are those
    below the package, such as ``"methods.decar"``; ``follow`` names rooms of :data:`NOT_FOLLOWED`
    that decide this result all the same.

    Raises:
        FileNotFoundError: A module does not exist.
    """
    seen: set[str] = set()
    closed = set(NOT_FOLLOWED).difference(follow)
    waiting = [name.removeprefix(f"{PACKAGE.name}.") for name in modules]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            used = _read(name)[1]
            waiting += [m for m in used if m in DECIDES or m.split(".")[0] not in closed]
    parts = [f"{name}\n{_read(name)[0]}" for name in sorted(seen)]
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=12).hexdigest()


def _file(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    loaded = sys.modules.get(f"{PACKAGE.name}.{module}")  # a method may have come from elsewhere
    return Path(loaded.__file__) if not file.exists() and loaded and loaded.__file__ else file


@cache
def _read(module: str) -> tuple[str, tuple[str, ...]]:
    """Return a module's code without docstrings, and the modules of this package it imports."""
    tree, found = ast.parse(_file(module).read_text(encoding="utf-8")), set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [line for line in node.body if not _is_constant(line)] or [ast.Pass()]
        elif isinstance(node, ast.ImportFrom) and node.level:
            found.update(_imported(module, node))
    return ast.unparse(tree), tuple(sorted(found))


def _is_constant(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)


def _imported(module: str, line: ast.ImportFrom) -> Iterator[str]:
    """Yield the modules of this package that a relative import names."""
    package = module.split(".") if _file(module).name == "__init__.py" else module.split(".")[:-1]
    base = package[: len(package) - line.level + 1]
    name = [*base, *(line.module or "").split(".")] if line.module else base
    for alias in line.names:
        longer = ".".join([*name, alias.name])
        found = longer if _file(longer).is_file() else ".".join(name)
        if found and _file(found).is_file():
            yield found
