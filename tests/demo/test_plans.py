from dataclasses import replace

import pandas as pd
import pytest

from unfused.demo.corpus import (
    INSTRUMENTS,
    PLAYERS,
    plan_mixtures,
    plan_notes,
    plan_sessions,
)
from unfused.demo.settings import DemoSettings

TABLE = pd.read_csv(INSTRUMENTS, index_col="programme")
SMALL = DemoSettings(n_sessions=5, n_notes=200, n_mixtures=90)
PLANS = pytest.mark.parametrize("plan", [plan_sessions, plan_notes, plan_mixtures])


@PLANS
def test_every_class_is_in_every_part_and_every_clip_is_played_once(plan):
    table, takes = plan(SMALL)
    single = table.assign(label=table["label"].str.split(",")).explode("label")
    counts = pd.crosstab(single["label"], single["split"])
    assert list(counts.columns) == ["test", "train", "valid"]
    assert counts.to_numpy().min() > 0
    assert [path for take in takes for path in take.paths] == list(table["path"])
    assert table["path"].is_unique


@PLANS
def test_a_plan_follows_the_seed(plan):
    (table, takes), (other, retakes) = plan(SMALL), plan(SMALL)
    pd.testing.assert_frame_equal(table, other)
    assert takes == retakes
    assert plan(replace(SMALL, seed=1))[1] != takes


@PLANS
def test_no_group_is_in_two_parts_and_no_recording_is_tested_that_was_heard(plan):
    table, takes = plan(SMALL)
    if "group" in table:
        assert table.groupby("group")["split"].nunique().eq(1).all()
    if plan is plan_sessions:
        return
    heard = {split: set() for split in ("train", "valid", "test")}
    for split, take in zip(table["split"], takes, strict=True):
        heard[split] |= {TABLE.loc[note.programme, "group"] for note in take.notes}
    assert heard["train"].isdisjoint(heard["valid"] | heard["test"])
    assert heard["valid"].isdisjoint(heard["test"])


def test_instruments_share_no_recording_with_each_other_or_with_the_test_notes():
    played = TABLE.loc[[player.programme for player in PLAYERS.values()]]
    assert played["group"].is_unique
    assert len(played) == 12
    assert "test" not in set(played["part"])


def test_a_session_keeps_to_its_instrument_its_range_and_its_clips():
    table, takes = plan_sessions(SMALL)
    assert table["split"].value_counts().to_dict() == {"train": 180, "valid": 60, "test": 60}
    assert table.groupby("group").size().eq(5).all()
    n_chords = 0
    for take, label in zip(takes, table["label"][::5], strict=True):
        player = PLAYERS[label]
        starts = [note.start for note in take.notes]
        n_chords += len(starts) > len(set(starts))
        assert player.chords or len(starts) == len(set(starts))
        for note in take.notes:
            assert note.programme == player.programme
            assert player.lowest <= note.pitch <= player.highest
            assert 1 <= note.velocity <= 127
            assert note.start // 1.5 == note.end // 1.5 <= 4
        lowest = min(note.pitch for note in take.notes)
        assert max(note.pitch for note in take.notes) <= lowest + 12 + 7
    assert n_chords > 10
    assert len({take.recording for take in takes}) == len(takes)


def test_notes_are_shared_out_evenly_and_none_occurs_twice():
    table, takes = plan_notes(SMALL)
    notes = pd.DataFrame([take.notes[0] for take in takes])
    assert table["label"].value_counts().eq(20).all()
    assert not notes.duplicated(["programme", "pitch"]).any()
    per_programme = notes.groupby("programme").size()
    spread = per_programme.groupby(TABLE["family"]).agg(["min", "max"])
    assert (spread["max"] - spread["min"] <= 1).all()
    assert table["pitch_class"][notes["pitch"] % 12 == 9].eq("A").all()
    assert table["pitch_class"].nunique() == 12
    assert (notes["pitch"] <= notes["programme"].map(TABLE["highest"])).all()


@pytest.mark.parametrize("n_notes", [9, 10_000])
def test_a_number_of_notes_that_there_are_not_is_refused(n_notes):
    with pytest.raises(ValueError, match=f"n_notes={n_notes}"):
        plan_notes(replace(SMALL, n_notes=n_notes))


def test_a_mixture_is_one_to_three_families_within_its_length():
    table, takes = plan_mixtures(SMALL)
    for take, label in zip(takes, table["label"], strict=True):
        families = [TABLE.loc[note.programme, "family"] for note in take.notes]
        assert label == ",".join(families)
        assert len(set(families)) == len(families)
        assert all(0 <= note.start < note.end <= 3.0 for note in take.notes)
    assert {len(take.notes) for take in takes} == {1, 2, 3}
