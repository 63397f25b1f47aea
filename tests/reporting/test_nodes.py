"""Nodes of the report, called as the runner calls them; what tells runs apart."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest
from matplotlib.figure import Figure

from unfused.params import Run, Task
from unfused.pipelines.reporting import nodes
from unfused.reporting.runs import compare_runs, different_parameters


@pytest.fixture
def run(tmp_path):
    return Run(seeds=[0], folder=tmp_path)


@pytest.fixture
def drawn(monkeypatch):
    """The figures whose pictures are written."""
    figures, write = [], Figure.savefig

    def kept(figure, file):
        figures.append(figure)
        write(figure, file)

    monkeypatch.setattr(Figure, "savefig", kept)
    return figures


def test_learning_curves_tell_fine_tuning_from_scratch(run, drawn):
    pretraining = pd.DataFrame({"seed": 0, "step": [1, 2], "loss": [2.0, 1.0]})
    history = pretraining.assign(task="birds", source="teacher")
    control = history.assign(source="shuffled", loss=9.0)
    supervised = pd.concat([history.assign(encoder=name) for name in ("supervised", "unfused")])
    nodes.draw_learning_curves(
        run,
        decar=pretraining,
        own_data_student=pd.concat([history, control]),
        own_data_supervised=supervised,
    )
    (figure,) = drawn
    assert [block.get_suptitle() for block in figure.subfigs] == [
        "DECAR-v2 pre-training", "birds: student", "birds: supervised from scratch",
        "birds: UnFuSeD student, fine-tuned",
    ]  # fmt: skip
    lines = [line for block in figure.subfigs for line in block.axes[0].lines]
    assert [line.get_ydata().max() for line in lines] == [2.0] * 4  # no controls


def test_tasks_go_by_title_or_folder(tmp_path):
    (tmp_path / "labels.csv").touch()
    for entry, name in (
        (Task(audio=str(tmp_path)), tmp_path.name),
        (Task(audio=str(tmp_path / "labels.csv")), tmp_path.name),
        (Task(audio=[str(tmp_path), "/other"]), tmp_path.name),
        (Task(audio=str(tmp_path), title="Bird calls"), "Bird calls"),
    ):
        assert entry.name == name
    birds, pool = (SimpleNamespace(name=name, rejected=pd.DataFrame({"path": [f"{name}.wav"]}))
                   for name in ("Bird calls", "pool"))  # fmt: skip
    rejected = nodes.list_rejected_audio(birds, pool)
    assert rejected.to_dict("list") == {
        "corpus": ["Bird calls", "pool"],
        "path": ["Bird calls.wav", "pool.wav"],
    }
    scores = [pd.DataFrame({"value": [1], "task": [name]}) for name in ("Bird calls", "nsynth")]
    joined = nodes.join_tables(*scores)
    assert joined["task"].tolist() == ["Bird calls", "nsynth"]
    assert list(joined) == ["task", "value"]


def test_a_map_without_any_label_is_drawn(run):
    points = pd.DataFrame({"x": [0.0, 1.0, 2.0], "y": [0.0, 1.0, 0.0], "pseudo_label": [0, 1, 0],
                           "label": [None, None, None], "n_clips": 3})  # fmt: skip
    picture = nodes.draw_clusters(points, [{"source": "teacher", "ami": None}], run)
    assert picture.startswith(b"\x89PNG")


def test_every_task_has_its_own_picture_in_the_order_of_the_run(three_seeds, run, drawn):
    results, predictions = three_seeds
    summary, comparisons = nodes.summarise_results(
        results, predictions, SimpleNamespace(bootstrap=100), "decar", run
    )
    clips = predictions[["task", "clip_id", "label"]].drop_duplicates("clip_id")
    corpora = [SimpleNamespace(name=task, clips=part) for task, part in clips.groupby("task")]
    found = nodes.find_weaknesses(summary, comparisons, predictions, *corpora)
    assert [one["task"] for one in found] == list(results["task"].unique())
    assert len(set(nodes.draw_confusion(predictions, found, run))) == len(found)
    for one, figure in zip(found, drawn, strict=True):
        sizes = sum(int(text.get_text()) for text in figure.axes[0].texts)
        assert sizes == 3 * one["best"]["n_test"]


def test_a_score_that_has_changed_is_summarised_again(three_seeds, run):
    results, predictions = three_seeds
    how = SimpleNamespace(bootstrap=20), "decar", run
    first = nodes.summarise_results(results, predictions, *how)
    again = nodes.summarise_results(results, predictions, *how)
    for one, other in zip(first, again, strict=True):
        pd.testing.assert_frame_equal(one, other)
    wrong = predictions.assign(predicted="nothing")
    assert nodes.summarise_results(results, wrong, *how)[0]["mean"].max() == 0


def test_missing_data_sets_are_found_among_typed_and_plain_entries(tmp_path):
    card = {"licence": "CC0", "get": "https://there", "source": "paper"}
    entry = {"title": "Birds", "audio": str(tmp_path / "birds"), "layout": "esc50", "card": card}
    tasks = {"typed": Task(**entry), "plain": entry, "own": {"audio": None}, "none": Task()}
    assert nodes.list_missing_tasks(tasks)["task"].tolist() == ["typed", "plain"]


def test_only_what_may_decide_a_result_tells_runs_apart() -> None:
    def run(number: int) -> dict[str, object]:
        return {
            "run": {"seeds": [number], "tracking": number, "device": number},
            "extraction": {"n_jobs": number},
            "methods": {"decar": {"training": {"log_every": number, "learning_rate": number}}},
            "model": {"folder": number},
            "classify": {"top_k": number},
            "demo": {"expected": number, "n_notes": number},
        }

    found = different_parameters({"a": run(1), "b": run(2)})
    names = {"run.seeds", "methods.decar.training.learning_rate", "demo.n_notes"}
    assert set(found["a"]) == set(found["b"]) == names


def test_runs_are_compared_by_validation_alone(one_seed):
    results, _ = one_seed
    better = results.assign(validation=results["validation"] + 0.1, value=0.0)
    table = compare_runs({"a": (results, {"k": 1}), "b": (better, {"k": 2})})
    assert len(table) == 2 * 11
    assert table["run"].tolist() == ["b", "a"] * 11
    assert table["k"].tolist() == ["2", "1"] * 11
    assert {"value", "metric"}.isdisjoint(table)
    student = table[(table["encoder"] == "unfused") & (table["source"] == "teacher")]
    assert student["validation"].tolist() == pytest.approx([0.72, 0.62])
