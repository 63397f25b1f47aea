"""The clips of clusters: nearest first, honest about what is missing, and playable."""

import base64
import io
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
from unfused.datasets.clusters import ClusterClipsDataset

from unfused.reporting.cluster_clips import cluster_clips
from unfused.reporting.cluster_players import listening_page, listening_section, players_html

N_PER_CLUSTER, RATE = 6, 22050


def corpus(folder):
    """Two clusters of six clips each; clip 0 of each is the centre, the others lie around it."""
    folder.mkdir(parents=True)
    around = np.array([[0, 0], [0.1, 0], [-0.1, 0], [0, 0.3], [0, -0.3], [0, 0]])
    features, files = [], []
    for cluster, centre in enumerate(([10.0, 1.0, 1.0], [1.0, 1.0, 10.0])):
        for index in range(N_PER_CLUSTER):
            name, path = f"c{cluster}_{index}", folder / f"c{cluster}_{index}.wav"
            wave = 0.2 * np.sin(np.arange(3 * RATE) * (0.05 + 0.1 * cluster))
            wave[:RATE] = 0  # the clip begins behind it
            soundfile.write(path, wave, RATE)
            moved = np.array(centre) + np.append(0, around[index])
            features.append({"clip_id": name, **{f"f{i}": x for i, x in enumerate(moved)}})
            label = None if index == 5 else ("<dog>" if index or cluster else "cat_1")
            files.append({"clip_id": name, "path": str(path), "label": label})
    numbers = pd.Series(np.repeat([3, 7], N_PER_CLUSTER), index=[row["clip_id"] for row in files])
    part = {"offset": RATE, "frames": 2 * RATE, "sample_rate": RATE, "multi_label": False}
    return pd.DataFrame(features), numbers, pd.DataFrame(files).assign(**part)


@pytest.fixture
def data(tmp_path):
    return corpus(tmp_path / "audio")


def heard(data, **options):
    return cluster_clips(*data, **{"seconds": 1.0, **options})


def test_the_nearest_clips_come_first(data):
    clips = heard(data, n_clips=4)
    assert [cluster.number for cluster in clips.clusters] == [3, 7]
    for number, cluster in enumerate(clips.clusters):
        assert {clip.clip_id for clip in cluster.clips[:2]} == {f"c{number}_0", f"c{number}_5"}
        distances = [clip.distance for clip in cluster.clips]
        assert distances == sorted(distances)
        assert all(clip.samples.shape == (16000,) for clip in cluster.clips)
        assert np.abs(cluster.clips[0].samples).max() == pytest.approx(0.9, abs=0.01)


def test_size_and_purity_count_known_labels_only(data):
    first, second = heard(data).clusters
    assert (first.size, first.n_labelled, first.majority, first.purity) == (6, 5, "<dog>", 0.8)
    assert second.purity == 1


def test_without_labels_there_is_no_purity(data):
    features, numbers, manifest = data
    clips = heard((features, numbers, manifest.assign(label=None)))
    assert np.isnan(clips.clusters[0].purity)
    assert "no true label is known" in players_html(clips)


def test_of_several_labels_each_counts(data):
    features, numbers, manifest = data
    several = manifest.assign(multi_label=True, label=["a|b", "b|c", "b", "a", "c", "b"] * 2)
    first = heard((features, numbers, several)).clusters[0]
    assert (first.majority, first.purity) == ("b", pytest.approx(4 / 6))


def test_a_missing_file_is_shown_as_missing(data, tmp_path):
    shutil.rmtree(tmp_path / "audio")
    clips = heard(data)
    assert clips.clusters[0].clips[0].samples is None
    page = players_html(clips)
    assert page.count("missing: file not found") == 6
    assert "<audio" not in page


def test_pages_play_and_escape(data):
    clips = heard(data)
    page = listening_page(clips, "A & B")
    assert page.count("<audio controls") == 6
    assert "&lt;dog&gt;" in page
    assert "<dog>" not in page
    assert "pseudo-cluster 7" in page
    address = re.search('src="data:audio/flac;base64,([^"]+)"', page)[1]
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(address)))
    assert (len(samples), rate) == (16000, 16000)


def test_a_section_shows_the_largest_and_says_where_all_are(data):
    features, numbers, manifest = data
    numbers = numbers.copy()
    numbers.iloc[0] = 7
    clips = heard((features, numbers, manifest))
    section = listening_section({"mine": clips}, {"mine": "mine/index.html"})
    assert section.index("pseudo-cluster 7") < section.index("pseudo-cluster 3")
    assert '<a href="mine/index.html">All 2 clusters</a>' in section
    short = players_html(clips, n_clusters=1, n_clips=1)
    assert "The 1 largest of 2 clusters" in short
    assert short.count("<audio") == 1


def test_clusters_are_kept_as_files(data, tmp_path):
    features, numbers, manifest = data
    manifest.loc[0, "path"] = str(tmp_path / "gone.wav")
    manifest["label"] = manifest["label"].replace("cat_1", "None")  # the name of a class
    clips = heard((features, numbers, manifest))
    dataset = ClusterClipsDataset(filepath=str(tmp_path / "clips"))
    for _ in range(2):  # the second replaces the first
        dataset.save(clips)
    kept = dataset.load()
    assert kept.sample_rate == 16000
    for before, after in zip(clips.clusters, kept.clusters, strict=True):
        assert (before.number, before.size, before.majority) == (
            after.number, after.size, after.majority)  # fmt: skip
        for one, other in zip(before.clips, after.clips, strict=True):
            assert (one.clip_id, one.label, one.missing) == (
                other.clip_id, other.label, other.missing)  # fmt: skip
            if one.samples is not None:
                assert np.allclose(one.samples, other.samples, atol=1e-4)
    wavs = sorted(path.name for path in (tmp_path / "clips").rglob("*.wav"))
    assert len(wavs) == 5
    assert (tmp_path / "clips" / "index.html").is_file()
    shown = dataset.preview(n_clusters=1)
    assert shown.count("<audio") == 2
    assert "_" not in re.sub("<[^>]*>", "", shown)  # Kedro-Viz would slant what stands between
