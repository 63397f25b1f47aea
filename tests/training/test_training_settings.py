import math
from dataclasses import fields
from itertools import pairwise

import pytest
from pydantic import ValidationError

from unfused.params import Distillation, check_keys, names_in
from unfused.training.optimisers import learning_rate
from unfused.training.settings import TrainingSettings


def test_length_in_epochs_and_clips():
    assert TrainingSettings(epochs=2.5, batch_size=10).total_steps(45) == 10
    assert TrainingSettings(clip_updates=10_000, batch_size=128).total_steps(2000) == 78
    assert TrainingSettings(clip_updates=100, batch_size=128).total_steps(20) == 5
    assert TrainingSettings(clip_updates=1, batch_size=128).total_steps(2000) == 1


@pytest.mark.parametrize("length", [{}, {"epochs": 1, "clip_updates": 10}])
def test_exactly_one_length(length):
    with pytest.raises(ValueError, match="exactly one of epochs and clip_updates"):
        TrainingSettings(**length)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("epochs", 0, "positive"),
        ("epochs", math.nan, "positive"),
        ("batch_size", 1, "at least 2"),
        ("optimiser", "sdg", "choose from"),
        ("schedule", "linear", "choose from"),
        ("precision", "fp8", "choose from"),
        ("learning_rate", 0.0, "positive"),
        ("bias_learning_rate", 0.0, "positive"),
        ("accumulate", 0, "at least 1"),
        ("accumulate", 65, "at most half of batch_size=128"),
        ("learning_rate", math.inf, "finite"),
        ("momentum", 1.0, r"in \[0, 1\)"),
        ("weight_decay", -0.1, "0 or positive"),
        ("warmup", 1.5, r"in \[0, 1\]"),
        ("gradient_clip", 0.0, "positive"),
        ("log_every", 0, "at least 1"),
        ("checkpoint_seconds", -1, "0 or positive"),
    ],
)
def test_errors_name_value_and_rule(name, value, rule):
    with pytest.raises(ValueError, match=rule) as error:
        TrainingSettings(**{"epochs": 1, name: value})
    assert f"{name}={value!r}" in str(error.value)


def test_logging_is_no_part_of_the_identity():
    first = TrainingSettings(epochs=1, log_every=1, checkpoint_seconds=5)
    assert first.identity() == TrainingSettings(epochs=1).identity()
    assert first.identity() != TrainingSettings(epochs=2).identity()


def configured(training):
    return Distillation(training=training).training


def test_the_configuration_is_the_settings_themselves():
    given = {"clip_updates": 100, "batch_size": 16, "learning_rate": 1, "momentum": 0.5}
    assert configured(given) == TrainingSettings(**given)
    assert configured({"epochs": 1}) == TrainingSettings(epochs=1)
    assert names_in(TrainingSettings) == [field.name for field in fields(TrainingSettings)]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, ["exactly one of epochs and clip_updates"]),
        ({"epochs": 1, "clip_updates": 3}, ["epochs=1", "clip_updates=3"]),
        ({"epochs": 1, "precison": "fp32"}, ["'precison'", "did you mean 'precision'?"]),
        ({"epochs": 1, "precision": "fp8"}, ["training.precision", "'bf16' or 'fp16'", "'fp8'"]),
        ({"epochs": 1, "batch_size": "x"}, ["training.batch_size", "valid integer", "'x'"]),
        ({"epochs": 1, "batch_size": 1}, ["batch_size=1 must be at least 2"]),
    ],
)
def test_the_configuration_says_what_is_wrong(given, words):
    with pytest.raises(ValidationError) as error:
        configured(given)
    assert not [word for word in words if word not in str(error.value)], error.value


def test_names_are_checked_without_values():
    check_keys({"training": {"epochs": "soon"}}, Distillation, "d")
    with pytest.raises(ValueError, match=r"d.training.epoch is no parameter.*did you mean 'epo"):
        check_keys({"training": {"epoch": 1}}, Distillation, "d")
    with pytest.raises(ValueError, match=r"d.training=3 is a group of parameters"):
        check_keys({"training": 3}, Distillation, "d")


def test_schedule_warms_up_and_ends_at_a_thousandth():
    rates = [learning_rate(step, 100, 10, 2.0) for step in range(100)]
    assert rates[:10] == pytest.approx([0.2 * (i + 1) for i in range(10)])
    assert max(rates) == 2.0
    assert all(later <= rate for rate, later in pairwise(rates[10:]))
    assert rates[54] + rates[55] == pytest.approx(2.002, abs=1e-9)  # symmetric about its middle
    assert rates[-1] == pytest.approx(0.002)


def test_schedule_can_stay_constant():
    rates = [learning_rate(step, 6, 2, 1.0, "constant") for step in range(6)]
    assert rates == [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(("total", "warmup"), [(1, 0), (1, 1), (2, 1), (3, 3)])
def test_the_shortest_schedules(total, warmup):
    rates = [learning_rate(step, total, warmup, 1.0) for step in range(total)]
    assert all(0 < rate <= 1 for rate in rates)
