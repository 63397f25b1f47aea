"""The map of clips: every point is on it, some can be heard, and no text becomes code."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import soundfile

from unfused.reporting.listening_map import framed, listening_map, map_sounds


def points(n=30):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "clip_id": [f"clip{i}" for i in range(n)],
            "x": rng.normal(size=n),
            "y": rng.normal(size=n),
            "pseudo_label": np.arange(n) // 10,
            "label": ["</script><b>", None, "b"] * (n // 3),
        }
    )


@pytest.fixture
def manifest(tmp_path):
    paths = [tmp_path / f"{i}.wav" for i in range(30)]
    for path in paths[1:]:
        soundfile.write(path, 0.1 * np.sin(np.arange(16000) * 0.2), 8000)
    return pd.DataFrame(
        {
            "clip_id": [f"clip{i}" for i in range(30)],
            "path": list(map(str, paths)),
            "offset": 0,
            "frames": 16000,
            "sample_rate": 8000,
        }
    )


def content(page):
    return json.loads(re.search('type="application/json">(.*?)</script>', page, re.S)[1])


def test_sounds_are_spread_over_the_clusters(manifest):
    sounds = map_sounds(points(), manifest, n_sounds=6)
    assert set(sounds) == {"clip1", "clip10", "clip11", "clip20", "clip21"}  # clip0 has no file
    assert all(sound.startswith("data:audio/flac;base64,") for sound in sounds.values())


def test_every_point_is_on_the_map(manifest):
    found = content(listening_map(points(), map_sounds(points(), manifest)))
    assert len(found["points"]) == 30
    assert all(0 < p["x"] < 1000 and 0 < p["y"] < 600 for p in found["points"])
    assert found["points"][1]["text"] == "pseudo-cluster 0, no label"
    assert found["points"][0]["sound"] == ""
    assert found["points"][1]["sound"] in found["sounds"]
    assert set(found["colours"]["cluster"]) == {f"pseudo-cluster {i}" for i in range(3)}
    assert set(found["colours"]["label"]) == {"</script><b>", "b", "no label"}


def test_no_text_becomes_code():
    page = listening_map(points(), {}, title="<i>")
    assert "</script><b>" not in page
    assert "<i>" not in page.replace("<i></i>", "")
    assert "<script" not in framed(page)


def test_one_place_is_enough_and_none_too_few():
    one = points().head(1)
    assert content(listening_map(one, {}))["points"][0]["x"] == 20
    with pytest.raises(ValueError, match="at least one clip"):
        listening_map(one.head(0), {})
