"""Which clips to label next, and which are alike."""

import numpy as np
import pytest

from unfused.inference.search import clips_to_label, label_next, nearest


@pytest.fixture
def doubtful():
    """Sixty clips: ten doubtful ones of each of two sounds, the others certain."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(0, 0.1, (60, 4)).astype("f4")
    vectors[:10] += 5
    vectors[10:20] -= 5
    first = np.r_[np.linspace(0.5, 0.52, 10), np.linspace(0.53, 0.55, 10), np.full(40, 0.99)]
    return vectors, np.stack([first, 1 - first], axis=1)


def test_of_each_doubtful_sound_one_is_asked_for(doubtful):
    chosen = label_next(*doubtful, 2)
    assert chosen.tolist() == [0, 10]


def test_doubt_alone_asks_for_one_sound(doubtful):
    assert label_next(*doubtful, 2, per_clip=1).tolist() == [0, 1]


@pytest.mark.parametrize("n", [0, 1, 60, 100])
def test_no_more_than_there_are_and_none_twice(doubtful, n):
    chosen = label_next(*doubtful, n)
    assert len(set(chosen.tolist())) == len(chosen) == min(n, 60)


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_equal_clips_are_no_hindrance():
    assert len(label_next(np.ones((20, 3)), np.full((20, 2), 0.5), 5)) == 5


def test_nearest_by_cosine_on_standardised_axes():
    rng = np.random.default_rng(1)
    vectors = rng.normal(3, [1, 100], (12_000, 2))
    order, cosines = nearest(vectors, vectors[7], 5)
    assert order[0] == 7
    level = (vectors - vectors.mean(0)) / vectors.std(0)
    expected = level @ level[7] / np.linalg.norm(level, axis=1) / np.linalg.norm(level[7])
    np.testing.assert_allclose(cosines, np.sort(expected)[::-1][:5])


def test_of_no_clips_none_is_nearest():
    order, cosines = nearest(np.empty((0, 3)), np.ones(3), 5)
    assert len(order) == len(cosines) == 0


def test_a_mistyped_keyword_is_refused_beside_like_too():
    with pytest.raises(TypeError, match="n_clip"):
        clips_to_label(None, None, None, None, like="call.wav", n_clip=3)
