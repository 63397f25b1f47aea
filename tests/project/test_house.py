"""The house: which room may import which."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import unfused
from unfused.cli import REMEDIES
from unfused.params import GROUPS

PACKAGE = Path(unfused.__file__).parent
FLOORS = [
    {"core", "data", "encoders", "losses", "clustering", "scores"},
    {"views", "tasks", "demo"},
    {"methods"},
    {"training"},
    {"embeddings"},
    {"distillation", "probes"},
    {"inference", "reporting"},
    {"datasets"},
    {
        *("pipelines", "params", "config", "hooks", "settings", "pipeline_registry", "cli"),
        *("tracking", "__main__"),
    },
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS, start=1) for room in rooms}
FILES = [file for file in sorted(PACKAGE.rglob("*.py")) if file != PACKAGE / "__init__.py"]


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(file: Path) -> Iterator[str]:
    """Yield the absolute name of every module that a file imports, wherever in the file."""
    parents = ["unfused", *file.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = parents[: len(parents) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def test_every_room_has_a_floor_and_every_floor_its_rooms():
    assert {room_of(file) for file in FILES} == set(FLOOR)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_room_imports_only_from_lower_floors(file):
    room = room_of(file)
    for name in imports(file):
        parts = name.split(".")
        if parts[0] != "unfused" or len(parts) < 2 or parts[1] not in FLOOR:
            continue
        if parts[1] != room:
            assert FLOOR[parts[1]] <= FLOOR[room], f"{file} imports {name} from a higher floor"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_only_the_upper_floors_know_kedro(file):
    if FLOOR[room_of(file)] >= 8:
        return
    assert not [name for name in imports(file) if name.split(".")[0].startswith("kedro")]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_only_the_upper_floors_know_commands(file):
    """Errors of the library name what is called; the command line says how it is told."""
    if FLOOR[room_of(file)] >= 8:
        return
    words = [node.value for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
             if isinstance(node, ast.Constant) and isinstance(node.value, str)]  # fmt: skip
    groups = "|".join(set(GROUPS) - {"model", "export"})  # which are objects, too
    advice = rf"kedro run|--params|make unfused|\b({groups})\.[a-z_]+(\.[a-z_]+)*(=|:| lower)"
    assert not [found for text in words for found in re.findall(advice, text)]


def test_every_remedy_is_a_command_line_s():
    calls = [node for file in FILES for node in ast.walk(ast.parse(file.read_text("utf-8")))
             if isinstance(node, ast.keyword) and node.arg == "remedy"]  # fmt: skip
    assert {call.value.value for call in calls} == set(REMEDIES)


def test_no_circle_between_rooms():
    edges: dict[str, set[str]] = {}
    for file in FILES:
        for name in imports(file):
            parts = name.split(".")
            if parts[0] == "unfused" and len(parts) > 1 and parts[1] in FLOOR:
                edges.setdefault(room_of(file), set()).add(parts[1])
    edges = {room: targets - {room} for room, targets in edges.items()}
    assert not [room for room in edges if _reaches(edges, room, room, set())]


def _reaches(edges, start, goal, seen):
    for target in edges.get(start, ()):
        if target == goal:
            return True
        if target not in seen and _reaches(edges, target, goal, seen | {target}):
            return True
    return False


def test_start_up_imports_nothing_heavy():
    code = (
        "import sys, unfused.settings, unfused.pipeline_registry, unfused.params\n"
        "heavy = {'torch', 'sklearn', 'matplotlib', 'pandas', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'imported at start-up: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
