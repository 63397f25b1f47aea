"""Outputs: reused, resumed, rebuilt; nothing damaged or foreign is used."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from unfused.core import outputs, source
from unfused.core.errors import STOPPING
from unfused.core.outputs import RECORD, OutputFolder, damage, mark_of


@pytest.fixture
def folder(tmp_path):
    return OutputFolder(tmp_path / "models")


@pytest.fixture(autouse=True)
def another_process():
    """Forget what this process has compared and built; call it to do so again."""

    def forget():
        outputs._compared.clear()
        outputs._built.clear()

    forget()
    return forget


def write(text):
    def build(path):
        (path / "deeper").mkdir(exist_ok=True)
        for name in ("weights", "deeper/weights"):
            (path / name).write_text(text)

    return build


def never(path):
    raise AssertionError("built again")


def test_an_output_is_built_once(folder, another_process):
    first = folder.built("a", {"x": 1}, write("one"))
    another_process()
    assert folder.built("a", {"x": 1}, never) == first
    assert first.parent == folder.path
    assert first.name.startswith("a-")


def test_going_to_and_fro_builds_nothing_twice(folder):
    first = folder.built("a", {"x": 1}, write("one"))
    second = folder.built("a", {"x": 2}, write("two"))
    assert first != second
    assert (folder.built("a", {"x": 1}, never) / "weights").read_text() == "one"


def test_unfinished_work_is_resumed(folder):
    def stopped(path):
        (path / "half").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.built("a", {}, stopped)
    seen = []
    folder.built("a", {}, lambda path: seen.append((path / "half").read_text()))
    assert seen == ["half"]


def test_what_goes_on_after_a_lost_signal_is_not_declared_whole(folder):
    def lost(path):
        write("half")(path)
        STOPPING.set()  # the signal's exception was lost in a callback

    try:
        with pytest.raises(KeyboardInterrupt):
            folder.built("a", {}, lost)
    finally:
        STOPPING.clear()
    assert not list(folder.path.rglob(RECORD))


def test_fresh_builds_again_once_in_a_process(folder, another_process):
    folder.built("a", {}, write("one"))
    another_process()
    fresh = OutputFolder(folder.path, fresh=True)
    assert (fresh.built("a", {}, write("two")) / "weights").read_text() == "two"
    assert (fresh.built("a", {}, never) / "weights").read_text() == "two"


def truncate(file):
    file.write_bytes(file.read_bytes()[:-1])


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def empty(file):
    file.write_bytes(b"")


def delete(file):
    file.unlink()


@pytest.mark.parametrize("attack", [truncate, flip, empty, delete])
@pytest.mark.parametrize("victim", ["weights", "deeper/weights", RECORD])
def test_a_damaged_output_is_built_again(folder, attack, victim, another_process):
    path = folder.built("a", {"x": 1}, write("weights of some length"))
    attack(path / victim)
    another_process()
    outputs.OUTCOMES.clear()
    folder.built("a", {"x": 1}, write("weights of some length"))
    for name in ("weights", "deeper/weights"):
        assert (path / name).read_text() == "weights of some length"
    assert sum(outputs.OUTCOMES[name] for name in ("rebuilt", "resumed")) == 1
    assert not damage(path / RECORD)


def test_the_output_of_something_else_is_not_taken(folder, another_process):
    first = folder.built("a", {"x": 1}, write("one"))
    second = folder.built("a", {"x": 2}, write("two"))
    shutil.rmtree(first)
    shutil.copytree(second, first)
    another_process()
    assert (folder.built("a", {"x": 1}, write("one")) / "weights").read_text() == "one"


def test_what_is_damaged_after_the_first_look_is_found_by_the_next_process(folder, another_process):
    path = folder.built("a", {}, write("one"))
    flip(path / "weights")
    another_process()
    assert "weights" in damage(path / RECORD)


def test_a_record_says_what_made_the_output(folder):
    path = folder.built("a", {"rate": 0.5, "clips": np.arange(5)}, write("one"))
    assert json.loads((path / RECORD).read_text())["made_of"]["rate"] == 0.5


def test_tables_are_built_once(folder):
    table = pd.DataFrame({"x": [1, 2]})
    folder.tables("a", {}, lambda _: {"scores": table})
    found = folder.tables("a", {}, never)
    pd.testing.assert_frame_equal(found["scores"], table)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (np.arange(3), np.arange(4)),
        (np.array(["a"]), np.array(["b"])),
        (pd.DataFrame({"x": [1]}), pd.DataFrame({"x": [2]})),
        ({"x": 1}, {"x": 1.5}),
        ("1", 1),
    ],
)
def test_marks_tell_values_apart(one, two):
    assert mark_of(value=one) != mark_of(value=two)
    assert mark_of(value=one) == mark_of(value=one)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package in which losses decide methods, and a room only draws."""
    for name, text in {
        "losses/one.py": "def loss(x):\n    '''Doc.'''\n    return x\n",
        "methods/a.py": "from ..losses.one import loss\nfrom ..reporting.draw import plot\n",
        "reporting/draw.py": "def plot(): ...\n",
        "data/store.py": "RATE = 1\n",
    }.items():
        file = tmp_path / "pack" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        (file.parent / "__init__.py").touch()
        file.write_text(text)
    monkeypatch.setattr(source, "PACKAGE", tmp_path / "pack")

    def edit(name, old, new):
        file = tmp_path / "pack" / name
        file.write_text(file.read_text().replace(old, new))

    def digest():
        source._read.cache_clear()
        return source.source_digest("methods.a")

    yield edit, digest
    source._read.cache_clear()


def test_editing_a_loss_changes_what_made_a_method(package):
    edit, digest = package
    before = digest()
    edit("losses/one.py", "return x", "return 2 * x")
    assert digest() != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("losses/one.py", "'''Doc.'''", "'''Another word.'''"),
        ("losses/one.py", "return x", "return x  # a comment"),
        ("reporting/draw.py", "...", "return 1"),
    ],
)
def test_editing_what_only_explains_or_shows_changes_nothing(package, file, old, new):
    edit, digest = package
    before = digest()
    edit(file, old, new)
    assert digest() == before
