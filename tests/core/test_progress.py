"""Progress: a bar on a terminal that goes when the work is done, nothing on demand."""

import io
import logging
import re

import pytest
from tqdm.contrib.logging import logging_redirect_tqdm

from unfused.core.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def watched(monkeypatch, delay=0.0):
    """Let somebody watch; not in a fixture, after which pytest puts its own stderr back."""
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr("unfused.core.progress.DELAY", delay)
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    return screen


def test_a_bar_on_a_terminal_goes_away(monkeypatch):
    screen = watched(monkeypatch)
    assert list(progress(range(3), total=3, desc="counting", unit="clip")) == [0, 1, 2]
    assert "counting" in screen.getvalue()
    assert screen.getvalue().split("\r")[-2].strip() == ""  # what stays is an empty line


def test_work_that_is_done_at_once_shows_no_bar(monkeypatch):
    screen = watched(monkeypatch, delay=5.0)
    assert len(list(progress(range(3), total=3, desc="counting", unit="clip"))) == 3
    assert screen.getvalue() == ""


@pytest.mark.parametrize("quiet", [True, False])
def test_nothing_on_demand(monkeypatch, quiet):
    screen = watched(monkeypatch)
    if not quiet:
        monkeypatch.setenv("TQDM_DISABLE", "1")
    with progress(total=2, desc="counting", unit="clip", quiet=quiet) as bar:
        bar.update()
    assert screen.getvalue() == ""


def test_a_line_of_the_log_does_not_break_into_a_bar(monkeypatch):
    screen = watched(monkeypatch)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [logging.StreamHandler(screen)])
    with logging_redirect_tqdm(), progress(total=3, desc="counting", unit="clip") as bar:
        bar.update()
        root.warning("look here")
    assert re.search(r"\r\s*\rlook here\n\r?counting", screen.getvalue())


def test_where_nobody_watches_lines_say_how_far_it_is(monkeypatch):
    watched(monkeypatch, delay=1.0)
    page, now = io.StringIO(), [0.0]
    monkeypatch.setattr("sys.stderr", page)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [logging.StreamHandler(page)])
    with logging_redirect_tqdm(), progress(total=9, desc="counting", unit="clip") as bar:
        bar._time = lambda: bar.start_t + now[0]
        for now[0] in range(0, 90, 10):
            root.warning("look here")
            bar.update()
    lines = page.getvalue().splitlines()
    counts = [line for line in lines if line.startswith("counting")]
    assert [re.search(r"(\d)/9", line)[1] for line in counts] == ["3", "6"]
    assert len(lines) == 9 + 2
    assert "\r" not in page.getvalue()
