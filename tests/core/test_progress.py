"""Progress: a bar on a terminal, lines in a log file, nothing on demand."""

import io
import logging
import re

from unfused.core.progress import LoggedProgress, lines_above_bars, progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def terminal(monkeypatch):
    """Let somebody watch; not in a fixture, after which pytest puts its own stderr back."""
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    return screen


def test_a_bar_on_a_terminal_goes_away(monkeypatch):
    watched = terminal(monkeypatch)
    monkeypatch.setattr("unfused.core.progress.BAR_AFTER", 0.0)
    assert list(progress(range(3), total=3, desc="counting", unit="clip")) == [0, 1, 2]
    shown = watched.getvalue()
    assert "counting" in shown
    assert re.search(r"clip(/s|s)", shown)
    assert shown.split("\r")[-2].strip() == ""  # what stays is an empty line


def test_work_that_is_done_at_once_shows_no_bar(monkeypatch):
    watched = terminal(monkeypatch)
    assert len(list(progress(range(3), total=3, desc="counting", unit="clip"))) == 3
    assert watched.getvalue() == ""


def test_a_line_of_the_log_does_not_break_into_a_bar(monkeypatch):
    watched = terminal(monkeypatch)
    monkeypatch.setattr("unfused.core.progress.BAR_AFTER", 0.0)
    handler = logging.StreamHandler(watched)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [handler])
    with lines_above_bars(), progress(total=3, desc="counting", unit="clip") as bar:
        bar.update()
        root.warning("look here")
    assert root.handlers == [handler]
    assert re.search(r"\r\s*\rlook here\n\r?counting", watched.getvalue())


def test_nothing_on_demand(monkeypatch, caplog):
    watched = terminal(monkeypatch)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    with caplog.at_level(logging.INFO), progress(total=2, desc="counting", unit="clip") as bar:
        bar.update()
    assert watched.getvalue() == ""
    assert not caplog.messages


def test_a_log_file_gets_a_line_now_and_then(caplog, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    seconds = iter(range(0, 1000, 10))  # a step takes 10 s
    with caplog.at_level(logging.INFO):
        bar = LoggedProgress(
            total=10, desc="DECAR", unit="step", initial=2, every=30, clock=lambda: next(seconds)
        )
        with bar:
            for step in range(8):
                bar.set_postfix(loss=step)
                bar.update()
    assert caplog.messages == [
        "DECAR: 5 of 10 steps, 0.1 steps/s, 00:50 left, loss 2",
        "DECAR: 8 of 10 steps, 0.1 steps/s, 00:20 left, loss 5",
    ]
    assert type(progress(total=1, desc="x", unit="y")) is LoggedProgress


def test_lines_keep_the_order_of_what_is_gone_through():
    assert list(LoggedProgress("abc", total=3, desc="x", unit="y")) == ["a", "b", "c"]
