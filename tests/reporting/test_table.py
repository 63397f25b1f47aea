from __future__ import annotations

import re

import pytest
import yaml

from unfused.reporting.published import LAPE_TASKS, published_scores
from unfused.reporting.summary import summarise
from unfused.reporting.table import score_table, to_latex, to_markdown


@pytest.fixture(scope="module")
def summary(three_seeds):
    return summarise(*three_seeds, teacher="decar", n_draws=50)


@pytest.fixture(scope="module")
def small(experiment):
    return summarise(*experiment(("50%_a&b|c",)), n_draws=50)


def test_a_cell_has_accuracy_its_interval_and_balanced_accuracy(summary):
    table = score_table(summary)
    heading = "NS: Accuracy [95 %] / balanced (300 test clips)"
    cells = table.cells.set_index("Classifier")
    cell = cells.loc["UnFuSeD student (block3, linear probe)", heading]
    assert re.fullmatch(r"\d\d\.\d \[\d\d\.\d, \d\d\.\d\] / \d\d\.\d", cell)
    student = summary[(summary["encoder"] == "unfused") & (summary["source"] == "teacher")]
    scores = student[student["task"] == "NS"].set_index("metric")["mean"]
    assert cell.startswith(f"{100 * scores['accuracy']:.1f} ")
    assert cell.endswith(f" {100 * scores['balanced_accuracy']:.1f}")
    assert re.fullmatch(r"\S+ \[\S+ \S+\]", cells["Mean over tasks"].iloc[0])
    assert cells["Parameters"].iloc[0] == "74,880"


def test_tasks_stand_as_the_run_has_them_and_what_is_missing_was_not_run(three_seeds):
    results, predictions = three_seeds
    gone = (predictions["task"] == "NS") & (predictions["encoder"] == "decar")
    cells = score_table(summarise(results, predictions[~gone], n_draws=50)).cells
    assert [name.partition(":")[0] for name in cells.columns[1:3]] == ["instrument_family", "NS"]
    decar = cells[cells["Classifier"].str.startswith("DECAR")]
    assert (decar.iloc[:, 2] == "not run").all()
    assert (decar["Mean over tasks"] == "").all()


def test_the_choice_of_validation_is_bold_and_nothing_else(summary):
    table = score_table(summary)
    assert table.chosen.to_numpy().sum() == 2  # tasks
    row = table.cells[table.chosen.any(axis=1)]["Classifier"]
    assert row.tolist() == ["UnFuSeD student (block3, linear probe)"]
    assert to_markdown(table).count("**") == 4
    assert to_latex(table).count(r"\textbf{") == 2


def test_protocols_stand_together_probes_first(experiment):
    tables = experiment(protocols=("fine_tuning", "linear_probe"), n_test=60)
    names = score_table(summarise(*tables, n_draws=50)).cells["Classifier"]
    tuned = names.str.contains("fine-tuning")
    assert tuned.tolist() == [False] * 9 + [True] * 9  # encoders


def test_each_encoder_has_the_read_out_that_validation_prefers(experiment):
    results, predictions = experiment(right={("decar", "", "block3"): 0.9})
    tested_best = (results["encoder"] == "decar") & (results["read_out"] == "block3")
    results.loc[tested_best, "validation"] = 0.1
    names = score_table(summarise(results, predictions, n_draws=50)).cells["Classifier"].tolist()
    assert len(names) == 9
    assert names[0] == "Random init (block3, linear probe)"
    assert [name for name in names if name.startswith("DECAR")] == ["DECAR-v2 (fc2, linear probe)"]


def test_what_is_used_stands_there_whichever_read_out_its_encoder_prefers(experiment):
    results, predictions = experiment(("instrument_family", "NS"))
    block3 = (results["encoder"] == "decar") & (results["read_out"] == "block3")
    results.loc[block3, "validation"] = results["task"].eq("NS")[block3].map({True: 0.7, False: 0})
    table = score_table(summarise(results, predictions, n_draws=50))
    decar = table.cells["Classifier"].str.startswith("DECAR")
    assert table.cells["Classifier"][decar].tolist() == [
        "DECAR-v2 (block3, linear probe)",
        "DECAR-v2 (fc2, linear probe)",
    ]
    assert table.chosen[decar].any(axis=1).tolist() == [True, False]


def test_notes_say_what_intervals_and_rows_are(experiment, summary):
    notes = " ".join(score_table(summary).notes)
    assert "3 seeds" in notes
    assert "12 groups and 3 seeds" in notes
    assert "another training run" not in notes
    results, predictions = experiment(right={("unfused", "true_labels", "block3"): 0.99})
    results["transductive"] = results["encoder"] == "decar"
    table = score_table(summarise(results, predictions, n_draws=50))
    notes = " ".join(table.notes)
    assert "1 seed of" in notes
    assert "do not cover another training run" in notes
    assert "upper bound" in notes
    assert "Transductive" in notes
    marked = table.cells["Classifier"].str.endswith("(transductive)")
    assert table.cells["Classifier"][marked].tolist() == [
        "DECAR-v2 (fc2, linear probe) (transductive)"
    ]


def test_encoders_from_outside_come_with_licence_and_data(one_seed, small):
    results, predictions = one_seed
    outside = results["encoder"] == "decar"
    known = results.assign(licence=None, pretraining_data=None)
    known.loc[outside, ["licence", "pretraining_data"]] = ["CC BY 4.0", "AudioSet"]
    table = score_table(summarise(known, predictions, n_draws=50))
    assert table.outside.to_numpy().tolist() == [["DECAR-v2", "AudioSet", "CC BY 4.0"]]
    assert "CC BY 4.0" in to_markdown(table)
    assert score_table(small).outside.empty


def test_published_scores_stand_apart_and_only_with_lape_tasks(summary, small):
    assert score_table(small).published.empty
    assert "ublished" not in to_markdown(score_table(small)) + to_latex(score_table(small))
    table = score_table(summary)
    assert list(table.published.columns) == ["model", "NS", "source"]
    measured, published = to_markdown(table).split("### Published scores (not measured here)")
    assert "76.4" in published
    assert "SLICER poster" not in measured
    assert to_latex(table).count(r"\begin{tabular}") == 2


def test_published_means_are_the_posters(project_root):
    given = yaml.safe_load((project_root / "conf/base/parameters/tasks.yml").read_text("utf-8"))
    titles = {entry["title"] for entry in given["tasks"].values()}
    assert set(LAPE_TASKS) <= titles  # as results call them
    tasks = ["SC-V1", "LBS", *list(LAPE_TASKS)[1:3], *list(LAPE_TASKS)[4:]]
    scores = published_scores(["Instruments", *tasks]).set_index("model")
    assert list(scores) == [*tasks, "source", "note"]
    means = scores[tasks].mean(axis=1).round(2)
    assert means["UnFuSeD"] == 81.62
    assert means["DeLoRes-M"] == 80.38
    assert means["SLICER"] == 81.55
    assert scores["source"].str.contains("arXiv").all()
    assert "other way round" in scores.loc["BYOL-A", "note"]


def test_latex_and_markdown_keep_their_columns_whatever_the_names(small):
    table = score_table(small)
    text = to_latex(table)
    assert r"50\%\_a\&b|c" in text
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {table.cells.shape[1] - 1}
    lines = [line for line in to_markdown(table).splitlines() if line[:1] == "|"]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {table.cells.shape[1] + 1}
