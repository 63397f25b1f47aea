"""The demo's time is said before a run of UnFuSeD on the demo, and before no other run."""

import logging

import pytest
from kedro.pipeline import Node, Pipeline

from unfused.hooks import RunHooks

RENDER = Node(lambda demo: demo, "params:demo", "demo_corpus", name="render")
OWN = Node(lambda audio: audio, "audio", "manifest", name="scan")


class Catalog(dict):
    load = dict.__getitem__


def said(caplog, nodes, names, **run):
    catalog = Catalog({"params:run": run, "params:demo": {"expected": "two minutes"}})
    with caplog.at_level(logging.INFO, logger="unfused"):
        RunHooks().before_pipeline_run(
            run_params={"pipeline_names": names}, pipeline=Pipeline(nodes), catalog=catalog
        )
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("names", [["unfused"], ["__default__"], None])
def test_the_demos_time_is_said_for_unfused(caplog, names):
    assert said(caplog, [RENDER], names) == ["expected time: two minutes"]


def test_it_is_not_said_for_other_pipelines_or_data(caplog):
    assert said(caplog, [RENDER], ["lape"]) == []
    assert said(caplog, [OWN], ["unfused"]) == []


def test_what_the_run_says_of_itself_comes_first(caplog):
    assert said(caplog, [RENDER], ["unfused"], expected="an hour") == ["expected time: an hour"]
    caplog.clear()
    assert said(caplog, [RENDER], ["lape"], expected="an hour") == ["expected time: an hour"]
