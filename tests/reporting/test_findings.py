"""What a run has found: chosen on validation clips, compared as planned, with clips to hear."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from unfused.probes.choose_model import choose_model
from unfused.reporting.findings import BETTER, SAME, best_of, best_over_tasks, compare, findings
from unfused.reporting.names import PLAIN
from unfused.reporting.summary import shown, summarise
from unfused.reporting.words import (
    against_plain,
    closing_words,
    first_sentence,
    next_steps,
    weaknesses,
)
from unfused.scores.intervals import holm

STUDENT = ("unfused", "teacher", "block3")


def found_in(results, predictions, task="instrument_family", **clips):
    summary = summarise(results, predictions, teacher="decar", n_draws=50)
    comparisons = compare(summary, predictions, teacher="decar", n_draws=2000)
    manifest = predictions.drop_duplicates("clip_id")[["clip_id", "label", "task"]]
    manifests = dict(list(manifest.assign(**clips).groupby("task")))
    return summary, comparisons, findings(summary, comparisons, predictions, manifests)


def test_the_best_is_chosen_on_validation_clips_and_never_on_test_clips(one_seed):
    results, predictions = one_seed
    worst = (results["encoder"] == "random_init") & (results["read_out"] == "fc2")
    flattered = results.assign(validation=results["validation"].mask(worst, 0.99))
    _, comparisons, (found,) = found_in(flattered, predictions)
    assert (found["best"]["encoder"], found["best"]["read_out"]) == ("random_init", "fc2")
    assert found["best"]["mean"] < 0.5
    asked = comparisons[comparisons["question"] == "plain"]
    assert asked["first"].tolist() == ["Random init (fc2, linear probe)"]


def test_a_control_is_never_the_best_and_the_simplest_of_equals_is(one_seed):
    results, predictions = one_seed
    control = results["source"] == "shuffled"
    _, _, (found,) = found_in(results.assign(validation=np.where(control, 0.9, 0.5)), predictions)
    assert found["best"]["encoder"] == "log_mel_statistics"  # it takes no trained parameters
    assert found["n_classifiers"] == 8


def test_the_best_is_the_one_that_is_kept_for_use_whatever_the_errors_of_the_folds(experiment):
    results, predictions = experiment(seeds=(0, 1), folds=(1, 2, 3))
    summary = shown(summarise(results, predictions, n_draws=50))
    assert best_of(summary)["encoder"] == "unfused"
    results["validation_error"] = np.where(results["fold"] == 3, 0.6, 0.0)
    best = best_of(shown(summarise(results, predictions, n_draws=50)))
    tables = [table.assign(fitted_on="train")
              for table in (results, predictions)]  # fmt: skip
    kept = choose_model(*tables)
    assert kept["encoder"] == best["encoder"] == "log_mel_statistics"
    assert kept["best_validation"] - kept["validation"] < kept["validation_error"]
    unknown = results.assign(parameters=results["parameters"].replace(0, np.nan))
    best = best_of(shown(summarise(unknown, predictions, n_draws=50)))
    assert best["parameters"] == 74_880  # an unknown size is not a small one


def test_only_the_planned_comparisons_are_made(three_seeds):
    _, comparisons, _ = found_in(*three_seeds)
    asked = comparisons[comparisons["task"] == "NS"]
    assert list(zip(asked["question"], asked["first"], asked["second"], strict=True)) == [
        ("random", "DECAR-v2 teacher (fc2, linear probe)", "Random init (fc2, linear probe)"),
        ("random", "UnFuSeD student (block3, linear probe)",
         "Random init (block3, linear probe)"),
        ("random", "UnFuSeD full (fc2, linear probe)", "Random init (fc2, linear probe)"),
        ("teacher", "UnFuSeD student (block3, linear probe)",
         "DECAR-v2 teacher (block3, linear probe)"),
        ("plain", "UnFuSeD student (block3, linear probe)", "Log-mel statistics (linear probe)"),
    ]  # fmt: skip
    assert len(comparisons) == 2 * len(asked)
    np.testing.assert_allclose(comparisons["p_holm"], holm(comparisons["p_value"]))


def test_a_pair_of_encoders_is_not_held_against_random_weights(experiment):
    pair = ("unfused + mfcc_statistics", "teacher", "block3")
    _, comparisons, _ = found_in(*experiment(right={pair: 0.9}))
    pairs = comparisons["first"].str.startswith("UnFuSeD student + MFCC statistics")
    assert comparisons.loc[pairs, "question"].tolist() == ["plain"]


@pytest.mark.parametrize(("validation", "name"), [(0.3, "Log-mel"), (0.5, "MFCC")])
def test_the_plain_alternative_is_the_one_that_validates_best(experiment, validation, name):
    mfcc = "MFCC statistics in 3 segments"
    results, predictions = experiment(right={(mfcc, "", ""): 0.3})
    results.loc[results["encoder"] == mfcc, ["validation", "parameters"]] = [validation, 0]
    _, comparisons, (found,) = found_in(results, predictions)
    assert found["plain"]["name"].startswith(f"{name} statistics")
    assert found["plain"]["outcome"] == BETTER
    assert (comparisons["question"] == "plain").sum() == 1
    assert "clearly better" in against_plain(found)


def test_where_log_mel_statistics_win_the_words_say_so_of_them(experiment):
    results, predictions = experiment(right={("mfcc_statistics", "", ""): 0.3})
    plain = results["encoder"] == "log_mel_statistics"
    results["validation"] = results["validation"].mask(plain, 0.99)
    _, _, found = found_in(results, predictions)
    first, second, _ = closing_words(found, None).splitlines()
    assert first.startswith("On instrument_family, Log-mel statistics (the best of 9 classifiers)")
    assert second.startswith("That is the plain method, Log-mel statistics with a linear")


def test_what_is_used_for_its_size_is_not_called_the_best(one_seed):
    results, predictions = one_seed
    results = results.assign(validation_error=0.4)
    _, _, (found,) = found_in(results, predictions)
    tables = [table.assign(fitted_on="train")
              for table in (results, predictions)]  # fmt: skip
    tables = [pd.concat([table, table.assign(fitted_on="train+valid")]) for table in tables]
    kept = choose_model(*tables)
    assert kept["encoder"] == found["best"]["encoder"] == "log_mel_statistics"
    assert found["n_classifiers"] == kept["n_candidates"] == 8
    for words in (first_sentence(found), closing_words([found], None)):
        assert "as good as the best of 8 classifiers, and smaller" in words


def test_by_folds_nothing_is_used_for_its_size(one_seed):
    results, predictions = one_seed
    results = results.assign(validation_error=0.4, chosen_on="folds")
    _, _, (found,) = found_in(results, predictions)
    assert found["best"]["encoder"] not in PLAIN
    plain = results["encoder"].isin(PLAIN)
    best = results.assign(validation=np.where(plain, 0.95, results["validation"]))
    _, _, (found,) = found_in(best, predictions)
    assert found["best"]["encoder"] not in PLAIN
    assert "as good as the best of 8 classifiers. " in first_sentence(found)
    clearly = best.assign(validation_error=0.01)
    _, _, (found,) = found_in(clearly, predictions)
    assert found["best"]["encoder"] in PLAIN
    assert "beats all that was trained by more than a standard error" in against_plain(found)


def test_only_what_was_compared_on_validation_clips_is_counted(experiment):
    results, predictions = experiment(protocols=("linear_probe", "knn"))
    again = [pd.concat([table.assign(fitted_on="train"), table.assign(fitted_on="train+valid")])
             for table in (results, predictions)]  # fmt: skip
    _, _, (found,) = found_in(*again)
    assert found["n_classifiers"] == 8  # neighbours cannot be kept for use
    assert "the best of 8 classifiers" in first_sentence(found)
    _, _, (unknown,) = found_in(results.assign(validation=np.nan), predictions)
    assert "the smallest of 8 classifiers" in first_sentence(unknown)


def test_a_method_of_its_own_architecture_meets_its_own_random_weights(experiment):
    right = {("conformer", "", "out"): 0.5, ("random_init_conformer", "", "out"): 0.3}
    _, comparisons, _ = found_in(*experiment(right=right))
    row = comparisons[comparisons["first"].str.startswith("Conformer")].iloc[0]
    assert row["second"] == "Random init (Conformer) (out, linear probe)"


def test_where_the_plain_method_is_the_best_it_says_so(one_seed):
    results, predictions = one_seed
    plain = results["encoder"] == "log_mel_statistics"
    _, comparisons, (found,) = found_in(
        results.assign(validation=results["validation"].mask(plain, 0.99)), predictions
    )
    assert "plain" not in set(comparisons["question"])
    assert "nothing trained beats it" in against_plain(found)


def test_a_small_gain_is_not_called_one(experiment):
    right = {STUDENT: 0.47, ("log_mel_statistics", "", ""): 0.45}
    results, predictions = experiment(right=right, n_test=200)
    _, _, (found,) = found_in(results, predictions)
    results["validation"] = (results["source"] == "teacher").astype(float)
    _, _, (found,) = found_in(results, predictions)
    assert found["plain"]["outcome"] == SAME
    assert "not clearly different" in against_plain(found)


def test_weak_classes_and_mistakes_are_counted(experiment):
    results, predictions = experiment(n_test=120, classes=["a", "b", "c"], right={STUDENT: 2.0})
    mine = (predictions["encoder"] == "unfused") & (predictions["source"] == "teacher")
    chosen = predictions[mine & (predictions["label"] == "a")].head(9).index
    predictions.loc[chosen, "predicted"] = ["b"] * 6 + ["c"] * 3
    _, _, (found,) = found_in(results, predictions)
    size = int((predictions[mine]["label"] == "a").sum())
    weakest = found["classes"][0]
    assert weakest == {"label": "a", "recall": pytest.approx(1 - 9 / size, abs=1e-9),
                       "n_test": size, "n_labelled": size}  # fmt: skip
    assert [(pair["label"], pair["predicted"], pair["n"]) for pair in found["pairs"]] == [
        ("a", "b", 6),
        ("a", "c", 3),
    ]
    wrong = set(predictions.loc[chosen, "clip_id"])
    heard = [clip["clip_id"] for pair in found["pairs"] for clip in pair["clips"]]
    assert len(heard) == len(set(heard)) == 6
    assert set(heard) <= wrong
    assert "fails most often for a " in weaknesses(found)
    assert "label more clips of a " in next_steps(found)


def test_labels_look_wrong_where_every_seed_is_sure_of_the_same_other_one(experiment):
    results, predictions = experiment(n_test=60, seeds=(0, 1), classes=["a", "b"])
    predictions = predictions.assign(predicted=predictions["label"], probability=0.95)
    clips = predictions["clip_id"].unique()

    def change(clip, predicted, probability, seed=None):
        rows = predictions["clip_id"] == clip
        rows &= True if seed is None else predictions["seed"] == seed
        predictions.loc[rows, ["predicted", "probability"]] = [predicted, probability]

    other = predictions.drop_duplicates("clip_id").set_index("clip_id")["label"]
    other = other.map({"a": "b", "b": "a"})
    change(clips[0], other[clips[0]], 0.99)
    change(clips[1], other[clips[1]], 0.6)  # not sure
    change(clips[2], other[clips[2]], 0.99, seed=1)  # one seed alone
    _, _, (found,) = found_in(results, predictions)
    assert [clip["clip_id"] for clip in found["suspects"]] == [clips[0]]
    assert "1 clip below whose label looks wrong" in next_steps(found)
    _, _, (unknown,) = found_in(results, predictions.drop(columns="probability"))
    assert unknown["suspects"] == []


def several_labels(n=40):
    """Rows of one encoder on clips with several labels."""
    truth = ["dog|rain", "rain", "dog", "wind"] * (n // 4)
    keys = {"task": "sounds", "encoder": "decar", "source": "", "read_out": "fc2", "fold": 0,
            "protocol": "linear_probe", "fitted_on": "train", "seed": 0}  # fmt: skip
    predictions = pd.DataFrame({**keys, "clip_id": [f"c{i}" for i in range(n)], "label": truth})
    predictions["predicted"] = ["rain", "rain", "dog", ""] * (n // 4)
    predictions["classes"] = "dog|rain|wind"
    scores = np.random.default_rng(0).normal(size=(n, 3))
    predictions["scores"] = list(scores)
    facts = {"validation": 0.5, "validation_error": 0.0, "parameters": 1, "chosen_on": "validation"}
    results = pd.DataFrame([{**keys, "metric": "mAP", "value": 0.5, **facts}])
    return results, predictions


def test_several_labels_a_clip_are_missed_and_mistaken_one_by_one():
    summary, _, (found,) = found_in(*several_labels())
    assert shown(summary)["metric"].tolist() == ["mAP"]
    assert {row["label"]: row["recall"] for row in found["classes"]} == {
        "wind": 0.0, "dog": 0.5, "rain": 1.0,
    }  # fmt: skip
    assert {(pair["label"], pair["predicted"], pair["n"]) for pair in found["pairs"]} == {
        ("dog", "", 10),
        ("wind", "", 10),
    }
    assert "mean average precision" in first_sentence(found)
    assert found["plain"] is None


def test_findings_are_json_with_where_the_audio_is(one_seed):
    place = {"path": "/there/a.wav", "offset": 3, "frames": 9, "sample_rate": 16000}
    _, _, found = found_in(*one_seed, **place)
    again = json.loads(json.dumps(found))
    assert again == found
    clip = found[0]["pairs"][0]["clips"][0]
    assert {name: clip[name] for name in place} == place


def test_a_run_closes_with_three_sentences(one_seed, three_seeds):
    for tables, words in ((one_seed, "On instrument_family"), (three_seeds, "Over 2 tasks")):
        summary, _, found = found_in(*tables)
        lines = closing_words(found, best_over_tasks(summary)).splitlines()
        assert len(lines) == 3
        assert lines[0].startswith(words)
        assert all(line.endswith(".") for line in lines)
        assert "UnFuSeD student" in lines[0]


def test_over_all_tasks_validation_chooses_too(three_seeds):
    results, predictions = three_seeds
    scratch = results["encoder"] == "supervised"
    flattered = results.assign(validation=results["validation"].mask(scratch, 0.99))
    summary = summarise(flattered, predictions, n_draws=50)
    assert best_over_tasks(summary)["name"] == "Supervised from scratch"
    assert best_over_tasks(summary[summary["task"] == "NS"]) is None
