"""Long recordings are cut into segments, and every segment gets a row."""

import numpy as np
import pytest

from unfused.embeddings.embed import embed_clips
from unfused.inference.new_audio import classify_store
from unfused.inference.segments import Segmentation, cut_segments, segment_bounds


@pytest.mark.parametrize("hop", [100, 30])
@pytest.mark.parametrize("n_frames", [1, 99, 101, 110, 111, 211, 250, 1000, 1009])
def test_segments_cover_a_clip(n_frames, hop):
    starts, lengths = segment_bounds(n_frames, 101, hop)
    covered = np.zeros(n_frames, bool)
    for start, length in zip(starts, lengths, strict=True):
        assert start + length <= n_frames
        assert n_frames <= 111 or 101 <= length <= 111
        covered[start : start + length] = True
    assert covered.all()
    assert (np.diff(starts) > 0).all()
    assert (np.diff(starts) <= hop).all()


def test_a_short_clip_is_embedded_whole(classifier, stored):
    manifest, store = stored
    predictions, embeddings = classify_store(
        classifier, store, manifest, Segmentation(3.0, 3.0), device="cpu"
    )
    whole = ~manifest["name"].eq("long.ogg").to_numpy()
    rows = store.rows(manifest["clip_id"][whole])
    expected = embed_clips(classifier.encoder, store, rows)["block3"]
    found = embeddings[embeddings["path"].isin(manifest["path"][whole])]
    columns = [f"e{i}" for i in range(classifier.encoder.dim)]
    np.testing.assert_allclose(found[columns], expected, rtol=1e-4, atol=1e-5)
    assert list(predictions["path"].unique()) == list(manifest["path"])


def test_segments_of_a_long_clip(classifier, stored):
    manifest, store = stored
    predictions, _ = classify_store(
        classifier, store, manifest, Segmentation(3.0, 3.0), top_k=2, device="cpu"
    )
    rows = predictions[predictions["path"].str.endswith("long.ogg")]
    assert rows["start_seconds"].tolist() == [0, 3, 6, 9, 11.2]
    assert rows["end_seconds"].tolist() == [3, 6, 9, 12, 14.2]
    assert {"top_1", "probability_2"} <= set(rows)
    assert "top_3" not in rows
    assert (rows["label"] == rows["top_1"]).all()


def test_a_segment_is_what_a_cut_would_be(stored):
    manifest, store = stored
    row = int(store.rows([manifest["clip_id"][manifest["name"] == "long.ogg"].item()])[0])
    segments, table = cut_segments(store, Segmentation(2.0, 1.5))
    mine = np.flatnonzero(table["row"] == row)
    first = round(float(table["start_seconds"][mine[1]]) * 100)
    assert (segments.clip(mine[1]) == store.clip(row)[first : first + 201]).all()


def test_part_of_a_file_keeps_its_place(classifier, stored):
    manifest, store = stored
    moved = manifest.assign(offset=5 * manifest["sample_rate"])
    predictions, _ = classify_store(
        classifier, store, moved, Segmentation(20.0, 20.0), device="cpu"
    )
    assert (predictions["start_seconds"] == 5).all()


@pytest.mark.parametrize(
    ("lengths", "words"), [((0.0, 1.0), "above 0"), ((1.0, 2.0), "between segments")]
)
def test_impossible_segments(lengths, words):
    with pytest.raises(ValueError, match=words):
        Segmentation(*lengths)
