from __future__ import annotations

import io
import re

import numpy as np
import pandas as pd
import pytest

from unfused.reporting.aggregate import summarise
from unfused.reporting.lape_table import lape_table
from unfused.reporting.published import published_scores
from unfused.reporting.table_formats import escape_latex, to_csv, to_latex, to_markdown


@pytest.fixture(scope="module")
def summary(three_seeds):
    return summarise(*three_seeds, n_draws=50)


@pytest.fixture(scope="module")
def small(experiment):
    return summarise(*experiment(("50%_a&b|c",)), n_draws=50)


def test_cells_have_score_interval_and_seeds(summary):
    table = lape_table(summary)
    assert list(table.tasks) == ["NS", "instrument_family"]
    assert table.headings["NS"] == "NS (300 test clips)"
    cell = table.rows.set_index(["name", "cut"]).loc[("UnFuSeD student", "block3"), "NS"]
    assert re.fullmatch(r"\d\d\.\d \[\d\d\.\d, \d\d\.\d\] n=3", cell)
    assert any("most frequent class of NS" in note for note in table.notes)


def test_best_is_marked_within_each_protocol_and_never_transductive(experiment):
    results, predictions = experiment(protocols=("linear_probe", "fine_tuning"))
    results["transductive"] = results["encoder"].isin(["unfused", "unfused_full"])
    table = lape_table(summarise(results, predictions, n_draws=50))
    best = table.rows[table.best["instrument_family"]]
    assert sorted(best["protocol"].unique()) == ["Fine-tuning", "Linear probe"]
    assert not best["name"].str.contains("transductive").any()
    assert table.rows["name"].str.contains(r"UnFuSeD student \(transductive\)").any()
    scores = table.numbers[~table.numbers["name"].str.contains("transductive")]
    top = scores.groupby("protocol")["instrument_family mean"].max()
    for _, row in scores.loc[best.index].iterrows():
        assert row["instrument_family mean"] == pytest.approx(top[row["protocol"]], abs=0.1)


def test_the_upper_bound_is_never_bold_and_takes_no_rank(experiment):
    bound = {("unfused", "true_labels", "block3"): 0.99}
    made = summarise(*experiment(("one", "two"), right=bound), n_draws=50)
    table = lape_table(made)
    names = table.rows["name"]
    rows = names.str.contains("upper bound").to_numpy()
    assert rows.sum() == 1
    assert not table.best.to_numpy()[rows].any()
    assert np.isnan(table.numbers["average rank"].to_numpy()[rows]).all()
    probes = (table.rows["protocol"] == "Linear probe").to_numpy() & ~rows
    assert table.numbers["average rank"].to_numpy()[probes].min() < 2
    assert table.best["one"].to_numpy()[probes].sum() == 1
    assert any("upper bound" in note for note in table.notes)


def test_published_scores_stand_apart_and_only_with_lape_tasks(summary, small):
    assert lape_table(small).published.empty
    assert "ublished" not in to_markdown(lape_table(small)) + to_latex(lape_table(small))
    table = lape_table(summary)
    assert list(table.published.columns) == ["model", "NS", "source"]
    assert "UnFuSeD" not in set(table.rows["name"])
    measured, published = to_markdown(table).split("### Published scores (not measured here)")
    assert "76.4" in published
    assert "SLICER poster" not in measured
    assert to_latex(table).count(r"\begin{tabular}") == 2
    assert lape_table(summary, metric="balanced_accuracy").published.empty


def test_published_means_are_the_posters():
    tasks = ["SC-V1", "speech_commands_v2_12", "SC-V2(35)", "librispeech", "voxceleb1", "IC",
             "voxforge", "nsynth", "BSD", "TUT", "urbansound8k"]  # fmt: skip
    scores = published_scores(tasks).set_index("model")
    means = scores[tasks].mean(axis=1).round(2)
    assert means["UnFuSeD"] == 81.62
    assert means["DeLoRes-M"] == 80.38
    assert means["SLICER"] == 81.55
    assert scores["source"].str.contains("arXiv").all()
    assert "other way round" in scores.loc["BYOL-A", "note"]


def test_latex_is_escaped_and_balanced(small):
    text = to_latex(lape_table(small))
    assert r"50\%\_a\&b|c" in text
    assert r"\toprule" in text
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {6}
    assert r"\textbf{" in text
    assert escape_latex("a\\b{c}^~#$") == (
        r"a\textbackslash{}b\{c\}\textasciicircum{}\textasciitilde{}\#\$"
    )


def test_markdown_keeps_its_columns_whatever_the_names(small):
    lines = [line for line in to_markdown(lape_table(small)).splitlines() if line[:1] == "|"]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {8}
    assert any(re.search(r"\*\*\d+\.\d\*\* \[", line) for line in lines)


def test_csv_holds_plain_numbers(summary):
    table = pd.read_csv(io.StringIO(to_csv(lape_table(summary))))
    row = table[(table["name"] == "UnFuSeD student")].iloc[0]
    assert row["NS low"] < row["NS mean"] < row["NS high"]
    assert row["NS clip_low"] < row["NS mean"]
    assert (row["parameters"], row["NS n_seeds"]) == (74_880, 3)


def test_two_kinds_of_interval_are_told_apart_in_the_cells(summary, small):
    statistics = summary["encoder"] == "log_mel_statistics"  # nothing in it depends on the seed
    kinds = summary["interval"].mask(statistics, "bootstrap over clips (grouped: 12 groups)")
    table = lape_table(summary.assign(interval=kinds))
    cells = table.rows.set_index("name")["NS"]
    assert re.fullmatch(r"\S+ \[\S+ \S+\]† n=3", cells["Log-mel statistics"])
    assert "†" not in "".join(cells.drop("Log-mel statistics"))
    assert any(note.startswith("Intervals with † are a bootstrap") for note in table.notes)
    assert any(note.startswith("Intervals without † are Student's t") for note in table.notes)
    assert r"]\textdagger{} n=3" in to_latex(table).replace("{]}", "]")
    written = table.numbers.set_index("name")["NS interval"]
    assert written["Log-mel statistics"].startswith("bootstrap over clips")
    assert written["UnFuSeD student"] == "t over 3 seeds"
    for one_kind in (small, summary):
        assert "†" not in to_markdown(lape_table(one_kind))


def test_one_seed_is_explained(small):
    notes = " ".join(lape_table(small).notes)
    assert "do not cover another training run" in notes
    assert "Student's t" not in notes


def test_a_task_that_an_encoder_lacks_says_not_run(summary):
    part = summary[(summary["task"] == "NS") | (summary["encoder"] != "supervised")]
    rows = lape_table(part).rows.set_index("name")
    assert rows.loc["Supervised from scratch", "instrument_family"] == "not run"


def test_mean_and_average_rank_are_over_the_rows_with_every_task(summary):
    whole = lape_table(summary)
    assert whole.columns[-2:] == ["Mean over tasks", "Average rank"]
    numbers = whole.numbers
    both = numbers[["NS mean", "instrument_family mean"]]
    np.testing.assert_allclose(numbers["mean over tasks"], both.mean(axis=1), atol=0.011)
    expected = both.rank(ascending=False).mean(axis=1)
    np.testing.assert_allclose(numbers["average rank"], expected, atol=0.51)  # rounded: ties
    assert (numbers["average rank"].sum()) == pytest.approx(expected.sum())
    part = summary[(summary["task"] == "NS") | (summary["encoder"] != "supervised")]
    fewer = lape_table(part).numbers.set_index("name")
    assert np.isnan(fewer.loc["Supervised from scratch", "average rank"])
    assert fewer["average rank"].max() <= len(fewer) - 1
    for text in map(str.splitlines, (to_markdown(whole), to_latex(whole))):
        assert sum("Average rank" in line for line in text) == 1
    assert lape_table(summary[summary["task"] == "NS"]).overall == ()


def test_pre_training_clips_are_a_column(experiment):
    results, predictions = experiment(folds=(1, 2))
    sizes = {"decar": 900, "random_init": 0}
    results["pretraining_clips"] = results["encoder"].map(sizes) + (results["fold"] == 2) * 100
    table = lape_table(summarise(results, predictions, n_draws=20))
    shown = table.rows.groupby("name")["pretraining_clips"].first()
    assert table.columns[5] == "Pre-training clips"
    assert (shown["DECAR-v2 teacher"], shown["Random init"]) == ("950", "50")
    assert shown["Log-mel statistics"] == ""
    assert "950" in to_markdown(table)


def test_unknown_metric_is_refused(summary):
    with pytest.raises(ValueError, match=r"metric='speed'.*accuracy"):
        lape_table(summary, metric="speed")


def test_the_best_is_marked_where_its_mean_ends_in_half_a_thousandth(one_seed):
    summary = summarise(*one_seed, n_draws=20)
    for mean in (0.6125, 0.6375, 0.6625, 0.6875):
        assert lape_table(summary.assign(mean=mean)).best.to_numpy().all()
