"""Which classifier is to be used, and why."""

import numpy as np
import pandas as pd
import pytest

from unfused.probes.choose_model import choose_model
from unfused.probes.probe import FOLDS
from unfused.probes.results import TRAIN, TRAIN_VALID

N = 200


def row(encoder, validation, parameters, right, **more):
    """Return result and prediction rows of one classifier."""
    key = {"encoder": encoder, "source": "", "read_out": "", "protocol": "linear_probe",
           "seed": 0, "fold": 0, **more}  # fmt: skip
    chosen_on = key.pop("chosen_on", "validation")
    facts = {"validation": validation, "validation_error": 0.02, "parameters": parameters,
             "chosen_on": chosen_on, "metric": "accuracy"}  # fmt: skip
    results, predictions = [], []
    for fitted_on, share in ((TRAIN, right - 0.1), (TRAIN_VALID, right)):
        if key["protocol"] == "fine_tuning" and fitted_on == TRAIN_VALID:
            continue
        results.append({**key, **facts, "fitted_on": fitted_on, "value": share})
        said = np.where(np.arange(N) < round(share * N), "a", "b")
        predictions.append(pd.DataFrame({
            "clip_id": [f"c{i}" for i in range(N)], "group": None, "label": "a", "predicted": said,
            **key, "fitted_on": fitted_on,
        }))  # fmt: skip
    return pd.DataFrame(results), pd.concat(predictions)


def chosen(*rows):
    results, predictions = zip(*rows, strict=True)
    return choose_model(pd.concat(results), pd.concat(predictions))


PLAIN = row("mfcc_statistics", 0.70, 0, 0.72)


def test_the_best_on_validation_is_chosen_whatever_test_clips_say():
    found = chosen(PLAIN, row("decar", 0.80, 100, 0.60), row("byol_a", 0.75, 50, 0.95))
    assert found["encoder"] == "decar"
    assert found["score"]["value"] == pytest.approx(0.60)
    assert found["plain_encoder"] == "mfcc_statistics"
    assert found["plain"]["value"] == pytest.approx(0.72)
    assert found["gain"]["value"] == pytest.approx(-0.12)
    assert found["gain"]["p_value"] < 1e-3
    assert "0.800 on validation" in found["why"]
    assert found["n_candidates"] == 3


def test_a_network_that_chose_its_epoch_on_few_clips_is_not_compared_with_folds():
    scratch = row("supervised", 1.0, 500, 0.8, protocol="fine_tuning")
    probe = row("decar", 0.93, 100, 0.95, chosen_on=FOLDS)
    assert chosen(probe, scratch)["encoder"] == "decar"
    assert chosen(scratch, row("decar", 0.93, 100, 0.95))["encoder"] == "supervised"
    assert chosen(scratch)["encoder"] == "supervised"


def test_within_one_standard_error_the_smaller_one_is_chosen():
    found = chosen(PLAIN, row("decar", 0.80, 100, 0.8), row("byol_a", 0.79, 50, 0.7),
                   row("cola", 0.77, 10, 0.9))  # fmt: skip
    assert found["encoder"] == "byol_a"
    assert found["parameters"] == 50
    assert found["best_validation"] == 0.80
    assert "one standard error (0.020)" in found["why"]


def test_by_folds_the_best_is_chosen_and_plain_statistics_only_if_they_are_clearly_better():
    few = {"chosen_on": FOLDS}
    small = row("byol_a", 0.79, 50, 0.7, **few)
    best = row("decar", 0.80, 100, 0.8, **few)
    assert chosen(row("mfcc_statistics", 0.81, 0, 0.9, **few), small, best)["encoder"] == "decar"
    plain = row("mfcc_statistics", 0.81, 0, 0.9, **few)
    assert "the best encoder of those within one" in chosen(plain, small, best)["why"]
    clear = row("mfcc_statistics", 0.83, 0, 0.9, **few)
    assert chosen(clear, small, best)["encoder"] == "mfcc_statistics"


def test_what_nobody_knows_the_size_of_counts_as_large():
    assert chosen(row("decar", 0.79, 100, 0.8), row("outside", 0.80, -1, 0.7))["encoder"] == "decar"
    assert (
        chosen(row("decar", 0.70, 100, 0.8), row("outside", 0.80, -1, 0.7))["encoder"] == "outside"
    )


def test_folds_make_the_error_smaller_and_seeds_do_not():
    def of(**more):
        best = [
            row("decar", 0.80, 100, 0.8, **{name: i}) for name, n in more.items() for i in range(n)
        ]
        return chosen(*best, row("byol_a", 0.785, 50, 0.7))

    assert of(seed=5)["encoder"] == "byol_a"
    assert of(fold=5)["encoder"] == "decar"  # .02 / sqrt(5) < .015


def test_controls_neighbours_and_what_was_not_validated_are_not_chosen():
    found = chosen(
        row("unfused", 0.99, 1, 0.9, source="true_labels"),
        row("decar", 0.98, 1, 0.9, protocol="knn"),
        row("cola", np.nan, 1, 0.9),
        row("unfused", 0.60, 1, 0.6, source="teacher"),
    )
    assert (found["encoder"], found["source"]) == ("unfused", "teacher")
    assert found["plain"] is found["gain"] is None
    with pytest.raises(ValueError, match="validation score"):
        chosen(row("cola", np.nan, 1, 0.9))


def test_a_control_that_is_asked_for_is_chosen():
    rows = row("unfused", 0.9, 1, 0.9, source="shuffled")
    assert choose_model(*rows, controls=True)["source"] == "shuffled"


def test_networks_take_part_and_are_scored_as_they_were_trained():
    found = chosen(PLAIN, row("supervised", 0.9, 5, 0.75, protocol="fine_tuning"))
    assert found["protocol"] == "fine_tuning"
    assert found["score"]["value"] == pytest.approx(
        0.65
    )  # there is no figure on validation clips too


def test_the_repeat_that_validated_best_is_named():
    found = chosen(row("decar", 0.80, 9, 0.8), row("decar", 0.84, 9, 0.8, seed=1))
    assert (found["seed"], found["validation"]) == (1, pytest.approx(0.82))
