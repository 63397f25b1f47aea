from itertools import pairwise

import pandas as pd
import pytest

from unfused.demo.casting import (
    FAMILIES_TABLE,
    Casting,
    cast_programmes,
    choose_test_groups,
    read_families,
)
from unfused.demo.plan import (
    COLUMNS,
    DemoSettings,
    even_shares,
    held_out_pitches,
    plan_notes,
)
from unfused.demo.soundfont import sharing_groups

NSYNTH = {
    "bass",
    "brass",
    "flute",
    "guitar",
    "keyboard",
    "mallet",
    "organ",
    "reed",
    "string",
    "synth_lead",
    "vocal",
}
# Four groups of reeds, three of organs of which one holds a reed too, and one group of voices.
FAMILIES = dict.fromkeys((0, 1, 2, 3, 4), "reed") | dict.fromkeys((10, 11, 12), "organ")
FAMILIES |= dict.fromkeys((20, 21), "vocal")
SAMPLES = {programme: frozenset({f"s{programme}"}) for programme in FAMILIES}
SAMPLES |= {1: frozenset({"s0", "s1"}), 12: frozenset({"s12", "s4"}), 21: frozenset({"s20"})}


def cast(seed: int = 0, samples=SAMPLES) -> Casting:
    return cast_programmes(samples, FAMILIES, test_fraction=0.275, seed=seed)


def test_the_table_maps_every_programme_to_a_family_of_nsynth_or_none():
    table = pd.read_csv(FAMILIES_TABLE, keep_default_na=False)
    assert list(table["programme"]) == list(range(128))
    assert set(table["family"]) == NSYNTH | {""}
    assert set(read_families().values()) == NSYNTH
    assert {47, 55, 88, 112, 127}.isdisjoint(read_families())  # timpani, hits, pads, drums, noises


@pytest.mark.parametrize("seed", range(5))
def test_whole_groups_test_and_every_family_is_on_both_sides(seed):
    casting = cast(seed)
    train = set(casting.families) - casting.test
    heard = {sample for programme in train for sample in SAMPLES[programme]}
    assert heard.isdisjoint(sample for programme in casting.test for sample in SAMPLES[programme])
    for side in (train, casting.test):
        assert {casting.families[programme] for programme in side} == {"reed", "organ"}


def test_a_family_with_one_group_is_left_out_and_becomes_unlabelled():
    casting = cast()
    assert casting.left_out == ("vocal",)
    assert casting.unlabelled == (20, 21)
    assert {20, 21}.isdisjoint(casting.groups)


def test_a_left_out_programme_that_shares_a_sample_with_test_is_not_rendered():
    samples = SAMPLES | {20: frozenset({"s20", "s2"}), 21: frozenset({"s20"})}
    found = set()
    for seed in range(12):
        casting = cast(seed, samples)
        assert casting.left_out == ("vocal",)
        assert casting.unlabelled == ((21,) if 2 in casting.test else (20, 21))
        found.add(2 in casting.test)
    assert found == {False, True}


def test_the_choice_of_test_groups_follows_the_seed():
    assert cast(3) == cast(3)
    assert len({cast(seed).test for seed in range(12)}) > 1


def test_test_groups_come_near_the_fraction():
    families = {programme: f"family-{programme % 3}" for programme in range(60)}
    groups = [[programme] for programme in range(60)]
    chosen = choose_test_groups(groups, families, test_fraction=0.3, seed=0)
    counts = pd.Series([families[at] for at in chosen]).value_counts()
    assert set(counts) == {6}


def test_families_that_cannot_be_split_are_an_error():
    families = {0: "reed", 1: "organ", 2: "reed", 3: "organ"}
    with pytest.raises(ValueError, match="0 families have two groups"):
        cast_programmes({p: {"s0"} for p in families}, families, test_fraction=0.3, seed=0)
    # Three families on three groups, each pair of groups holding one family: no choice splits all.
    mixed = {0: "a", 1: "b", 2: "a", 3: "c", 4: "b", 5: "c"}
    with pytest.raises(ValueError, match="a, b, c"):
        choose_test_groups([[0, 1], [2, 3], [4, 5]], mixed, test_fraction=0.3, seed=0)


def test_a_plan_has_each_programme_and_pitch_once_and_evenly():
    casting, settings = cast(), DemoSettings(n_notes=240)
    table = plan_notes(settings, casting, SAMPLES)
    assert list(table.columns) == list(COLUMNS)
    assert len(table) == 240
    assert not table.duplicated(["programme", "pitch"]).any()
    assert table["path"].is_unique
    assert table["pitch"].between(36, 84).all()
    assert table["label"].value_counts().to_dict() == {"reed": 80, "organ": 80, "": 80}
    reeds = table[table["label"] == "reed"]["programme"].value_counts()
    assert set(reeds) == {16}
    middle_c = table[table["pitch"] == 60]
    assert set(middle_c["pitch_class"]) <= {"C"}
    assert set(table[table["programme"] == 1]["samples"]) == {"s0 s1"}


def test_validation_is_held_out_pitches_of_training_groups():
    casting, settings = cast(), DemoSettings(n_notes=300)
    table = plan_notes(settings, casting, SAMPLES)
    held_out = set(held_out_pitches(settings))
    valid = table[table["split"] == "valid"]
    train = table[table["split"] == "train"]
    assert set(valid["pitch"]) <= held_out
    assert set(train[train["label"] != ""]["pitch"]).isdisjoint(held_out)
    assert set(valid["programme"]).isdisjoint(casting.test)
    assert 0.1 < len(valid) / (len(valid) + (train["label"] != "").sum()) < 0.2
    assert set(table[table["label"] == ""]["split"]) == {"train"}
    assert set(table[table["label"] == ""]["group"]) == {""}


@pytest.mark.parametrize("seed", range(10))
def test_held_out_pitches_are_a_seventh_with_other_pitch_classes(seed):
    pitches = held_out_pitches(DemoSettings(seed=seed))
    assert len(pitches) == 7
    assert len({pitch % 12 for pitch in pitches}) == 7
    assert {b - a for a, b in pairwise(pitches)} == {7}


def test_few_notes_still_give_every_family_validation_clips():
    casting = cast()
    table = plan_notes(DemoSettings(n_notes=30), casting, SAMPLES)
    counts = pd.crosstab(table["label"], table["split"])
    assert (counts.loc[["reed", "organ"]] > 0).all(axis=None)


def test_silent_notes_are_replaced():
    casting, settings = cast(), DemoSettings(n_notes=240)
    before = plan_notes(settings, casting, SAMPLES)
    first = before.iloc[0]
    silent = {(int(first["programme"]), int(first["pitch"]))}
    after = plan_notes(settings, casting, SAMPLES, silent)
    assert len(after) == 240
    assert silent.isdisjoint(zip(after["programme"], after["pitch"], strict=True))
    assert after["label"].value_counts().to_dict() == before["label"].value_counts().to_dict()


def test_more_notes_keep_those_of_fewer():
    casting = cast()
    few, many = (plan_notes(DemoSettings(n_notes=n), casting, SAMPLES) for n in (120, 400))
    assert set(few["path"]) <= set(many["path"])
    both = few.merge(many, on="path")
    assert (both["velocity_x"] == both["velocity_y"]).all()
    assert (both["split_x"] == both["split_y"]).all()


@pytest.mark.parametrize("n_notes", [29, 491])
def test_too_few_or_too_many_notes_are_an_error_with_the_range(n_notes):
    with pytest.raises(ValueError, match=f"n_notes={n_notes}.*give 30 to 490 notes"):
        plan_notes(DemoSettings(n_notes=n_notes), cast(), SAMPLES)


@pytest.mark.parametrize(
    "settings",
    [
        {"lowest": 60, "highest": 70},
        {"lowest": -1},
        {"highest": 128},
        {"seconds": 0.0},
        {"test_fraction": 1.0},
    ],
)
def test_settings_out_of_range_are_errors_that_name_the_value(settings):
    with pytest.raises(ValueError, match=str(next(iter(settings.values())))):
        DemoSettings(**settings)


@pytest.mark.parametrize(
    ("total", "capacities", "expected"),
    [
        (10, [2, 9, 9], [2, 4, 4]),
        (9, [3, 3, 3], [3, 3, 3]),
        (2, [5, 5, 5], [0, 1, 1]),
        (0, [4], [0]),
    ],
)
def test_even_shares(total, capacities, expected):
    assert even_shares(total, capacities) == expected


def test_groups_of_the_toy_are_as_meant():
    labelled = {programme: SAMPLES[programme] for programme in FAMILIES}
    assert sharing_groups(labelled) == [[0, 1], [2], [3], [4, 12], [10], [11], [20, 21]]
