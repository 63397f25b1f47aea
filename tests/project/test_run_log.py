"""What a run says of itself."""

import logging
import re
from collections import Counter
from types import SimpleNamespace

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node
from unfused.run_log import RunLog, Stage, summary

from unfused.pipeline_registry import announcement


@pytest.fixture
def catalog():
    return DataCatalog({"workspace": MemoryDataset(), "table": MemoryDataset()})


def embed(workspace):
    return workspace


def ran(run_log, catalog, seconds, monkeypatch, work=list):
    """Let a node seem to take some seconds."""
    node = Node(embed, "workspace", "table", name="embed_task", namespace="study.birds")
    clock = iter([100.0, 100.0 + seconds])
    stopped = SimpleNamespace(monotonic=lambda: next(clock))  # not for the other threads
    monkeypatch.setattr("unfused.run_log.time", stopped)
    run_log.before_node_run()
    work()
    run_log.after_node_run(node, catalog)


@pytest.fixture
def run_log(caplog):
    caplog.set_level(logging.INFO, logger="unfused")
    hooks = RunLog()
    hooks.before_pipeline_run()
    yield hooks
    hooks.on_pipeline_error()


def test_a_stage_that_said_nothing_gets_a_line(run_log, catalog, caplog, monkeypatch):
    ran(run_log, catalog, 12.0, monkeypatch)
    assert caplog.messages == ["birds: embed task (12 s), in memory"]


def test_a_stage_that_spoke_for_itself_gets_none(run_log, catalog, caplog, monkeypatch):
    ran(run_log, catalog, 12.0, monkeypatch, lambda: logging.getLogger("unfused.x").info("done"))
    ran(run_log, catalog, 0.1, monkeypatch)
    assert caplog.messages == ["done"]


def test_the_summary_lists_long_stages_in_their_order_and_counts_the_rest():
    stages = [Stage("render", 40.0, "a"), Stage("scan", 0.2, "b"), Stage("draw", 0.3, "c")]
    stages += [Stage("train", 80.0, "d")]
    lines = summary(stages, 121.4, Counter(reused=3, resumed=1, built=1)).splitlines()
    assert lines[0] == "finished in 2 min 1 s (1 built, 3 reused, 1 resumed)"
    assert [line.split() for line in lines[1:]] == [
        ["render", "40", "s", "a"],
        ["train", "80", "s", "d"],
        ["2", "other", "stages", "0.5", "s"],
    ]


def test_a_long_study_has_a_short_summary():
    stages = [Stage(f"train {n}", 5.0 + n % 7, "a") for n in range(100)]
    assert len(summary(stages, 800.0, Counter()).splitlines()) < 16


def test_the_whole_run_says_when_it_began_what_it_took_and_where_things_are(finished):
    lines = finished.output.splitlines()
    assert "unfused on instrument, teacher decar, seeds [0]; expected time" in lines[0]
    assert str(finished.data) in lines[0]
    (head,) = [n for n, line in enumerate(lines) if " I finished in " in line]
    assert re.search(r"decar: pretrain encoders +[\d.]+ s +\S*06_models/decar$", "\n".join(
        lines[head : head + 16]), flags=re.MULTILINE)  # fmt: skip


def test_only_a_pipeline_that_exists_is_announced(untouched_project):
    with untouched_project.session() as session:
        parameters = session.load_context().config_loader["parameters"]
    assert announcement(parameters, ["unfsed"]) == ""
    assert "expected" not in announcement(parameters, ["decar"])
    assert "expected" not in announcement(parameters, ["lape"])
    assert announcement(parameters, ["__default__"]) == announcement(parameters, ["unfused"])
