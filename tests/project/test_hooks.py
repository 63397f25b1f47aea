"""What a run says of itself."""

import logging
import re

import click
import pytest
from kedro.pipeline import Node

from unfused import hooks
from unfused.hooks import ProjectHooks


@pytest.mark.parametrize(("seconds", "lines"), [(12.0, ["birds: embed clips (12 s)"]), (0.5, [])])
def test_a_stage_that_took_time_gets_a_line(caplog, monkeypatch, seconds, lines):
    caplog.set_level(logging.INFO, logger="unfused")
    clock = iter([0.0, 100.0, 100.0 + seconds])
    monkeypatch.setattr(hooks.time, "monotonic", lambda: next(clock))
    said = ProjectHooks()
    said.before_node_run()
    said.after_node_run(Node(len, "a", "b", name="embed_clips", namespace="evaluation.birds"))
    monkeypatch.undo()
    assert caplog.messages == lines


def test_the_whole_run_says_what_it_does_how_long_it_took_and_where_things_are(finished):
    first, *lines = finished.output.splitlines()
    assert all(word in first for word in ("unfused", "instrument", "decar", "seeds 0", "minute"))
    assert str(finished.data) in first
    assert any(re.search(r"decar: pretrain encoders \(.* s\)", line) for line in lines)
    (end,) = [line for line in lines if " finished in " in line]
    assert re.search(r"\(\d+ built\); longest: [a-z: ]+ \(.* s\), [a-z: ]+ \(.* s\), ", end)


def test_what_is_going_to_run_is_said_by_runs_alone(untouched_project, caplog):
    caplog.set_level(logging.INFO, logger="unfused")
    with untouched_project.session() as session:
        session.load_context()
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("pipelines", "words"),
    [
        (["classify", "label_next"], "classify, label_next; results in "),
        (
            ["unfused", "export"],
            "unfused, export on instrument; teacher decar, seeds 0; results in ",
        ),
    ],
)
def test_what_is_done_with_a_model_says_nothing_of_the_study(
    untouched_project, caplog, pipelines, words
):
    caplog.set_level(logging.INFO, logger="unfused")
    with (
        click.Context(click.Command("run"), info_name="run") as context,
        untouched_project.session() as session,
    ):
        context.params["pipelines"] = pipelines
        session.load_context()
    (said,) = caplog.messages
    assert said.startswith(words)
    assert ("study takes" in said) == ("unfused" in pipelines)
