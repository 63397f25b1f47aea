"""Recordings are read in blocks and cut so that every moment is heard."""

import resource

import numpy as np
import pandas as pd
import pytest
import soundfile

from unfused.data.log_mel import FrontEnd
from unfused.data.reading import UnreadableAudio
from unfused.inference.recordings import cut, recordings_of, segments_of


@pytest.mark.parametrize("block", [1, 7, 40, 5000])
@pytest.mark.parametrize("hop", [101, 30])
@pytest.mark.parametrize("n_frames", [1, 99, 101, 110, 111, 112, 211, 250, 1000, 1009])
def test_segments_cover_a_recording_in_whatever_blocks_it_comes(n_frames, hop, block):
    frames = np.arange(n_frames, dtype=float)[:, None]
    blocks = [frames[i : i + block] for i in range(0, n_frames, block)]
    covered, starts = np.zeros(n_frames, bool), []
    for first, part in cut(blocks, 101, hop):
        assert part[0, 0] == first
        assert (np.diff(part[:, 0]) == 1).all()
        assert n_frames <= 111 or 101 <= len(part) <= 111
        covered[first : first + len(part)] = True
        starts.append(first)
    assert covered.all()
    assert (np.diff(starts) > 0).all()
    assert (np.diff(starts) <= hop).all()


def segments(folder, seconds, **options):
    with recordings_of(folder) as found:
        return list(segments_of(found.table, FrontEnd(), seconds, seconds, **options)), found.table


def test_segments_know_where_they_lie(sounds):
    found, _ = segments(sounds / "long.ogg", 3.0)
    clips = pd.concat([corpus.clips for corpus in found])
    assert clips["start_seconds"].tolist() == [0, 3, 6, 9, 11.2]
    assert clips["end_seconds"].tolist() == [3, 6, 9, 12, 14.2]
    assert clips["offset"].tolist() == [0, 24000, 48000, 72000, 89600]
    assert (clips["offset"] + clips["frames"]).iloc[-1] == soundfile.info(
        sounds / "long.ogg"
    ).frames


def test_whole_recordings_are_what_a_corpus_holds(sounds, corpus):
    found, _ = segments(sounds, 20.0)
    (heard,) = found
    assert heard.clips["path"].tolist() == corpus.clips["path"].tolist()
    assert heard.clips["frames"].tolist() == corpus.clips["frames"].tolist()
    for mine, theirs in zip(heard.rows, corpus.rows, strict=True):
        np.testing.assert_array_equal(heard.store.clip(mine), corpus.store.clip(theirs))


def test_parts_of_files_keep_their_place(corpus):
    clips = corpus.clips[corpus.clips["path"].str.endswith("long.ogg")]
    part = clips.assign(offset=5 * 8000, frames=3 * 8000, shown="x")
    (found,) = segments_of(part, FrontEnd(), 2.0, 2.0)
    assert found.clips["start_seconds"].tolist() == [5, 6]
    assert found.clips["end_seconds"].tolist() == [7, 8]


def test_level_is_power(tmp_path):
    rng = np.random.default_rng(0)
    wave = 0.1 * rng.standard_normal(64000)
    wave[32000:] *= 0.1
    soundfile.write(tmp_path / "a.wav", wave, 16000)
    (found,), _ = segments(tmp_path / "a.wav", 1.9)
    loud, *_, quiet = found.clips["level"]
    assert 10 * np.log10(loud / quiet) == pytest.approx(20, abs=1.5)


def test_a_damaged_recording_is_noted_or_named(sounds, tmp_path):
    data = (sounds / "window.flac").read_bytes()
    (tmp_path / "broken.flac").write_bytes(data[: len(data) // 2])
    rejected = {}
    _, recordings = segments(tmp_path / "broken.flac", 3, rejected=rejected)
    assert list(rejected) == [0]
    with pytest.raises(UnreadableAudio, match=r"broken\.flac"):
        list(segments_of(recordings, FrontEnd(), 3, 3))


def test_memory_does_not_grow_with_the_recording(tmp_path):
    rng = np.random.default_rng(0)

    def most_memory(minutes):
        """Return the most memory this process has taken, in MB, after hearing so much."""
        with soundfile.SoundFile(tmp_path / f"{minutes}.wav", "w", 4000, 1, "PCM_U8") as file:
            for _ in range(minutes):
                file.write(0.1 * rng.standard_normal(60 * 4000))
        n = 0
        with recordings_of(tmp_path / f"{minutes}.wav") as found:
            for corpus in segments_of(found.table, FrontEnd(), 10, 10):
                n += len(corpus)
        assert n == 6 * minutes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000

    assert most_memory(120) - most_memory(40) < 100  # as float32 at 16 kHz the rest has 310 MB
