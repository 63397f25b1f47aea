from __future__ import annotations

import pandas as pd
import pytest

from unfused.params import Run, Task
from unfused.pipelines.reporting import nodes
from unfused.reporting.aggregate import summarise
from unfused.reporting.comparisons import student_comparisons
from unfused.reporting.next_commands import CLASSIFY, next_commands
from unfused.reporting.run_report import closing_words, run_report
from unfused.training.precision import pick_device


@pytest.fixture(scope="module")
def report(experiment):
    results, predictions = experiment(("own_data",), n_test=80)
    summary = summarise(results, predictions, n_draws=50)
    comparisons = student_comparisons(results, predictions, n_draws=50)

    def build(**parameters):
        return run_report(
            summary, comparisons, {}, quality=pd.DataFrame(), data_card=pd.DataFrame(),
            rejected=pd.DataFrame(), configurations_tried=None,
            parameters={"run": Run(seeds=[0, 1]), **parameters},
        )  # fmt: skip

    return build


@pytest.mark.parametrize("kind", [dict, Task])
def test_the_report_names_titles_and_what_was_really_used(report, kind):
    content = report(tasks={"own_data": kind(title="Bird calls", audio="birds")})
    assert content.title == "UnFuSeD: Bird calls"
    assert content.facts["audio"] == "birds"
    assert content.facts["device"] == str(pick_device("auto"))
    assert content.facts["precision"] in ("float32", "bfloat16")
    assert content.facts["seeds"] == "0, 1"


def test_a_task_without_a_title_keeps_its_name(report):
    content = report(tasks={"own_data": None})
    assert content.title == "UnFuSeD: own_data"
    assert "audio" not in content.facts


def test_the_precision_is_the_teachers(report):
    methods = {"decar": {"training": {"precision": "fp32"}}}
    assert report(methods=methods, teacher="decar").facts["precision"] == "float32"


def test_the_closing_words_are_plain_and_aligned(report):
    words = closing_words(report())
    assert "\\" not in words
    assert "**" not in words
    assert "|" not in words
    lines = words.splitlines()
    assert all(line == line.rstrip() for line in lines)
    rows = [line for line in lines if line.startswith("    ")]
    assert len(rows) == 1 + 11
    assert len({line.index(name) for line, name in zip(rows, ["Protocol"] + 11 * ["Linear probe"],
                                                       strict=True)}) == 1  # fmt: skip
    assert sum("*" in row for row in rows) >= 1
    assert "UnFuSeD student is" in words
    assert lines[-2].startswith("Next: make unfused DATA=<folder>")
    assert CLASSIFY in lines[-1]


def test_next_commands_follow_what_the_run_was_given(project_root, monkeypatch):
    monkeypatch.chdir(project_root)
    demo = list(next_commands({"tasks": {"own_data": {"audio": None}}}))
    assert demo == [
        "make unfused DATA=<folder>",
        f"kedro {CLASSIFY}",
        "make unfused ENV=full",
        "make viz",
    ]
    tasks = {"own_data": {"audio": "my birds"}}
    assert list(next_commands({"tasks": tasks, "pools": {"pool": {"audio": None}}})) == [
        "make unfused DATA='my birds' ENV=full",
        "make unfused DATA='my birds' UNLABELLED=<folder>",
        f"kedro {CLASSIFY}",
        "make viz DATA='my birds'",
    ]
    assert list(next_commands({"tasks": tasks, "pools": {"pool": {"audio": "more"}}})) == [
        "make unfused DATA='my birds' UNLABELLED=more ENV=full",
        f"kedro {CLASSIFY}",
        "make viz DATA='my birds' UNLABELLED=more",
    ]


def test_learning_curves_tell_fine_tuning_from_scratch():
    history = pd.DataFrame({"seed": 0, "step": [1, 2], "loss": [2.0, 1.0], "source": ""})
    supervised = pd.concat([history.assign(encoder=name) for name in ("supervised", "unfused")])
    figure = nodes.draw_learning_curves(
        Task(audio="/some/birds"),
        decar_pretraining=history,
        own_data_student=history,
        own_data_supervised=supervised,
    )
    titles = [block.get_suptitle() for block in figure.subfigs]
    assert titles == [
        "DECAR-v2 pre-training", "birds: student", "birds: supervised from scratch",
        "birds: unfused fine-tuned",
    ]  # fmt: skip


def test_own_data_go_by_title_or_folder(tmp_path):
    scores = {"own_data": [{"value": 1}]}
    (tmp_path / "labels.csv").touch()
    for entry, name in (
        (Task(audio=str(tmp_path)), tmp_path.name),
        (Task(audio=str(tmp_path / "labels.csv")), tmp_path.name),
        (Task(audio=[str(tmp_path), "/other"]), tmp_path.name),
        (Task(audio=str(tmp_path), title="Bird calls"), "Bird calls"),
    ):
        assert nodes.join_tasks(entry, **scores)["task"].tolist() == [name]
    assert nodes.join_tasks(nsynth=[{}])["task"].tolist() == ["nsynth"]
    assert nodes.join_corpora(entry, pool=pd.DataFrame([{}]))["corpus"].tolist() == ["pool"]


def test_a_map_without_any_label_is_drawn():
    points = pd.DataFrame({"x": [0.0, 1.0, 2.0], "y": [0.0, 1.0, 0.0], "pseudo_label": [0, 1, 0],
                           "label": [None, None, None], "n_clips": 3})  # fmt: skip
    quality = pd.DataFrame({"source": ["teacher"], "task": "mine", "nmi": None, "n_labelled": 0})
    assert nodes.draw_pseudo_labels(quality, mine=points) is not None


def test_missing_data_sets_are_found_among_typed_and_plain_entries(tmp_path):
    card = {"licence": "CC0", "get": "https://there", "source": "paper"}
    entry = {"title": "Birds", "audio": str(tmp_path / "birds"), "layout": "esc50", "card": card}
    tasks = {"typed": Task(**entry), "plain": entry, "own": {"audio": None}, "none": Task()}
    assert nodes.list_missing_tasks(tasks)["task"].tolist() == ["typed", "plain"]


def test_without_a_makefile_the_next_commands_are_the_packages(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = "unfused run --pipeline=unfused"
    demo = list(next_commands({"tasks": {"own_data": {"audio": None}}}))
    label = f"unfused {CLASSIFY}"
    assert demo == [f"{run} --params data=<folder>", f"{run} --env=full", label]
    given = {"tasks": {"own_data": {"audio": "a, b"}}, "pools": {"pool": {"audio": "more"}}}
    variables = "UNFUSED_AUDIO='a, b' UNFUSED_UNLABELLED=more"
    assert list(next_commands(given)) == [f"{variables} {run} --env=full", label]
