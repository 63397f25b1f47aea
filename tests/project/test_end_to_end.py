"""``kedro run --pipelines=unfused`` from nothing to the report."""

import json
import re

import matplotlib.image
import pandas as pd
import pytest

from unfused.tasks.corpus import Corpus

OUTPUTS = [
    *(f"08_reporting/lape_table.{suffix}" for suffix in ("csv", "md", "tex")),
    *(f"08_reporting/instrument/{name}.png" for name in ("tsne_pseudo_labels", "confusion_matrix")),
    *("08_reporting/augmentation_views.png", "08_reporting/learning_curves.png"),
    *("08_reporting/example_views.png", "08_reporting/report.html", "08_reporting/verdict.md"),
    *("08_reporting/data_card.csv", "08_reporting/rejected_audio.csv"),
    *("07_model_output/results.parquet", "07_model_output/predictions.parquet"),
]
SOURCES = {"teacher", "random_encoder", "log_mel_statistics", "shuffled"}


@pytest.mark.parametrize("name", OUTPUTS)
def test_every_result_is_there(finished, name):
    file = finished.data / name
    assert file.stat().st_size > 0
    if file.suffix == ".png":
        height, width = matplotlib.image.imread(file).shape[:2]
        assert min(height, width) > 200


def test_the_report_needs_no_other_file(finished):
    page = (finished.data / "08_reporting/report.html").read_text(encoding="utf-8")
    sources = re.findall(
        r"""<(?:img|script|link|iframe|audio)[^>]*?(?:src|href)=["']([^"']*)""", page
    )
    assert len(sources) >= 4
    assert all(source.startswith("data:") for source in sources)
    assert not re.search(r"url\((?!['\"]?data:)", page)
    assert not re.search(r"@import", page)


def test_the_last_lines_are_the_verdict_and_the_report(finished):
    lines = [line for line in finished.output.splitlines() if line.strip()]
    assert lines[-1].endswith(str((finished.data / "08_reporting/report.html").resolve()))
    verdict = (finished.data / "08_reporting/verdict.md").read_text(encoding="utf-8").strip()
    closing = [line for line in verdict.splitlines() if line.strip()]
    assert lines[-1 - len(closing) : -1] == closing
    assert len(closing) == 3
    chosen = json.loads((finished.data / "07_model_output/chosen_model.json").read_text("utf-8"))
    assert closing[0].startswith("On Instruments, ")
    assert f"the best of {chosen['n_candidates']} classifiers" in closing[0]


def test_the_run_says_first_how_long_it_takes(finished):
    lines = finished.output.splitlines()
    assert any("under a minute" in line for line in lines[:6])


def test_the_log_has_no_noise(finished):
    assert "deprecat" not in finished.output.lower()
    assert "Warning" not in finished.output
    assert "Traceback" not in finished.output
    assert not re.search(r"^[\d:]+ [WE] ", finished.output, flags=re.MULTILINE)


def test_results_are_long(finished):
    results = finished.table("07_model_output/results.parquet")
    keys = [
        "task",
        "encoder",
        "source",
        "read_out",
        "protocol",
        "fitted_on",
        "seed",
        "fold",
        "metric",
    ]
    assert {*keys, "value"} <= set(results)
    assert not results.duplicated(keys).any()
    assert {"accuracy", "balanced_accuracy", "macro_f1"} <= set(results["metric"])
    assert results["value"].between(0, 1).all()
    assert {"random_init", "log_mel_statistics", "decar", "unfused", "supervised"} <= set(
        results["encoder"]
    )
    assert set(results.loc[results["encoder"] == "unfused", "source"]) == SOURCES


def test_accuracy_is_that_of_the_predictions(finished):
    keys = ["task", "encoder", "source", "read_out", "protocol", "fitted_on", "seed", "fold"]
    predictions = finished.table("07_model_output/predictions.parquet")
    predictions["right"] = (predictions["label"] == predictions["predicted"]).astype(float)
    right = predictions.groupby(keys)["right"].mean()
    results = finished.table("07_model_output/results.parquet")
    accuracy = results[results["metric"] == "accuracy"].set_index(keys)["value"]
    assert len(accuracy) == len(right) > 8
    pd.testing.assert_series_equal(
        accuracy.sort_index(), right.sort_index(), check_names=False, check_dtype=False
    )


def test_the_table_shows_what_was_measured(finished):
    table = (finished.data / "08_reporting/lape_table.md").read_text(encoding="utf-8")
    for name in ("Random init", "Supervised from scratch", "DECAR-v2 teacher", "UnFuSeD student"):
        assert name in table
    results = finished.table("07_model_output/results.parquet")
    assert {"decar + mfcc_statistics", "unfused + mfcc_statistics"} <= set(results["encoder"])
    student = results[(results["encoder"] == "unfused") & (results["source"] == "teacher")]
    student = student[(student["protocol"] == "linear_probe") & (student["metric"] == "accuracy")]
    again = student[student["fitted_on"] == "train+valid"]
    chosen = again.loc[again["validation"].idxmax()]
    assert f"{100 * chosen['value']:.1f}" in table


def test_every_clip_is_in_the_manifest_or_rejected_with_a_reason(finished):
    folder = finished.data / "03_primary/instrument"
    manifest, rejected = (
        pd.read_parquet(folder / "manifest.parquet"),
        pd.read_csv(folder / "rejected_audio.csv"),
    )
    audio = list((finished.data / "01_raw").rglob("*.flac"))
    assert len(audio) == len(manifest) + len(rejected) == 300
    assert rejected["reason"].notna().all()


def test_no_encoder_was_trained_on_audio_that_it_is_tested_on(finished):
    splits = finished.table("05_model_input/instrument/splits.parquet")
    held_out = splits[splits["split"].isin(["valid", "test"])]
    tested = set(finished.table("07_model_output/predictions.parquet")["clip_id"])
    assert tested <= set(held_out["clip_id"])
    folders = ("decar", "Instruments/unfused")
    tables = [
        table
        for folder in folders
        for table in (finished.data / "06_models" / folder).rglob("trained_on.parquet")
    ]
    assert len(tables) == 1 + 2 * len(SOURCES)
    for table in tables:
        seen = pd.read_parquet(table)
        assert len(seen) == (splits["split"] == "train").sum()
        assert not set(seen["clip_id"]) & set(held_out["clip_id"])
        assert not set(seen["digest"]) & set(held_out["digest"])


def test_statistics_and_clusters_come_from_training_clips(finished):
    splits = finished.table("05_model_input/instrument/splits.parquet")
    train = set(splits.loc[splits["split"] == "train", "clip_id"])
    heard = Corpus.load(finished.data / "05_model_input/pretraining_corpus")
    assert set(heard.for_training(0).clips["clip_id"]) == train
    labels = finished.table("05_model_input/instrument/pseudo_labels.parquet")
    for _, of_source in labels.groupby("source"):
        assert set(of_source["clip_id"]) == train
    features = finished.table("07_model_output/instrument/cluster_features.parquet")
    assert set(features["clip_id"]) == train


def test_shuffled_pseudo_labels_are_the_teachers_in_another_order(finished):
    labels = finished.table("05_model_input/instrument/pseudo_labels.parquet")
    by_source = labels.pivot_table(index="clip_id", columns="source", values="pseudo_label")
    assert sorted(by_source["shuffled"]) == sorted(by_source["teacher"])
    assert (by_source["shuffled"] != by_source["teacher"]).mean() > 0.5


def test_an_encoder_says_where_it_comes_from(finished):
    from unfused import load_encoder

    students = finished.data / "06_models/Instruments/unfused/teacher-seed0-fold0"
    (folder,) = students.glob("unfused-seed0-*/student")
    facts = load_encoder(folder).facts
    assert facts["seed"] == 0
    assert facts["fold"] == 0
    assert facts["source"] == "teacher"
    assert facts["task"] == "Instruments"
    assert facts["parameters"]["method"]["alpha"] == 0.7
    assert facts["versions"]["torch"]
