"""The tracked table of instruments is what its script makes of the SoundFont."""

import runpy

import networkx
import numpy as np
import pandas as pd
import pytest

from unfused.demo.corpus import INSTRUMENTS
from unfused.demo.rendering import find_soundfont

MONO, RIGHT, LEFT = 1, 2, 4
TABLE = pd.read_csv(INSTRUMENTS)


@pytest.fixture(scope="module")
def script(project_root):
    return runpy.run_path(str(project_root / "benchmarks/make_instrument_table.py"))


def test_groups_and_parts_are_those_of_the_soundfont(script):
    pytest.importorskip("pretty_midi")
    pytest.importorskip("midirenderer")
    groups = script["sharing_groups"](find_soundfont(), set(TABLE["programme"]))
    in_table = TABLE.groupby("group")["programme"].apply(sorted).tolist()
    assert groups == sorted(in_table)
    assert len(groups) == 47
    assert [0, 1, 2, 3] in groups  # the four pianos are one recording
    assert [40, 41] in groups  # violin and viola
    parts = TABLE.dropna(subset=["part"])
    assert parts.groupby("group")["part"].nunique().eq(1).all()
    assert script["part_of_groups"](parts, restarts=2).keys() == set(parts["group"])


def test_the_range_is_where_a_programme_sounds(script):
    pytest.importorskip("pretty_midi")
    pytest.importorskip("midirenderer")
    for programme in (67, 73):  # the bari-saxophone of TimGM6mb ends at pitch 79
        row = TABLE.set_index("programme").loc[programme]
        assert script["sounding"](programme) == (row["lowest"], row["highest"])


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([(0, 100, 0, MONO), (146, 200, 0, MONO)], 2),  # apart
        ([(0, 100, 0, MONO), (0, 100, 0, MONO)], 1),  # two headers, one range
        ([(50, 100, 0, MONO), (0, 51, 0, MONO)], 1),  # overlapping by one value
        ([(0, 100, 0, MONO), (100, 200, 0, MONO)], 2),  # touching
        ([(0, 100, 1, RIGHT), (146, 200, 0, LEFT)], 1),  # a stereo pair
        ([(0, 100, 1, MONO), (146, 200, 0, MONO)], 2),  # mono samples have no link
        # a long sample holds two that do not touch each other
        ([(0, 10, 0, MONO), (0, 500, 0, MONO), (300, 400, 0, MONO)], 1),
    ],
)
def test_samples_that_share_sound_are_one_recording(script, samples, expected):
    names = ("start", "end", "link", "type")
    headers = np.array(samples, dtype=[(name, "<u4") for name in names])
    graph = networkx.empty_graph(len(samples))
    graph.add_edges_from(script["same_sound"](headers))
    assert networkx.number_connected_components(graph) == expected
