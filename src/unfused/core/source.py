"""The source code that decides a result, as part of what made it."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
NOT_FOLLOWED = ("core", "data", "reporting")
"""Rooms that find outputs again, count, log and draw, or whose results have marks of their own."""
DECIDES = (
    "core.seeding",
    "core.distributed",
    "core.repeats",
    "data.label_sets",
    "data.shards",
    "data.store",
)
"""Modules of these rooms that are followed all the same."""


def source_digest(*modules: str) -> str:
    """Return a hash of some modules' code and of all modules of this package that they import.

    Docstrings, comments and layout do not count, so editing them rebuilds nothing.

    Args:
        *modules: Names below the package, such as ``"methods.decar"``.

    Raises:
        FileNotFoundError: A module does not exist.
    """
    seen: set[str] = set()
    waiting = [name.removeprefix(f"{PACKAGE.name}.") for name in modules]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += [found for found in _imports(name) if _is_followed(found)]
    parts = [f"{name}\n{_code(name)}" for name in sorted(seen)]
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=12).hexdigest()


def _is_followed(module: str) -> bool:
    return module in DECIDES or module.split(".")[0] not in NOT_FOLLOWED


def _file(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    loaded = sys.modules.get(f"{PACKAGE.name}.{module}")  # a method may have come from elsewhere
    return Path(loaded.__file__) if not file.exists() and loaded and loaded.__file__ else file


@cache
def _tree(module: str) -> ast.Module:
    """Return a module's code without docstrings."""
    tree = ast.parse(_file(module).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [line for line in node.body if not _is_text(line)] or [ast.Pass()]
    return tree


def _is_text(line: ast.stmt) -> bool:
    return (
        isinstance(line, ast.Expr)
        and isinstance(line.value, ast.Constant)
        and isinstance(line.value.value, str)
    )


@cache
def _code(module: str) -> str:
    return ast.unparse(_tree(module))


@cache
def _imports(module: str) -> tuple[str, ...]:
    return tuple(sorted(set(_named_imports(module))))


def _named_imports(module: str) -> Iterator[str]:
    """Yield the modules of this package that a module imports, wherever in it."""
    package = module.split(".") if _file(module).name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            name = [*base, *(node.module or "").split(".")] if node.module else base
            for alias in node.names:
                longer = ".".join([*name, alias.name])
                found = longer if _file(longer).is_file() else ".".join(name)
                if found and _file(found).is_file():
                    yield found
