import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from unfused.data.log_mel import FrontEnd
from unfused.data.reading import read_mono
from unfused.data.store import LogMelStore
from unfused.reporting.crop_sounds import CropPlayer, Sound, equally_loud
from unfused.reporting.example_views import example_views
from unfused.reporting.figures import k_mix_centroids, kmix_pairs
from unfused.reporting.k_mix_examples import STEPS, KMixExamples, k_mix_examples
from unfused.tasks.corpus import Corpus
from unfused.tasks.training_set import TrainingSet
from unfused.training.k_mix_bank import draw_bank
from unfused.views import fit_centroids
from unfused.views.k_mix import centroid_distances
from unfused.views.k_mix_centroids import centroid_table

RATE, FRONT_END = 8000, FrontEnd()
VIEWS = {"mixing": "k_mix", "mixup_bank": 64, "k_mix_furthest": 8}


def note(number):
    t = np.arange(int(RATE * (0.5 + 0.02 * number))) / RATE
    tone = np.sin(2 * np.pi * 150 * (1 + number % 6) * t) * 10.0 ** (-(number % 4))
    return (0.3 * tone).astype(np.float32)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Forty notes as files at another rate, their store, and a bank."""
    folder = tmp_path_factory.mktemp("study")
    rows, log_mels = [], {}
    for number in range(40):
        path, offset = folder / f"{number}.wav", 100 * (number % 2)
        wave = np.concatenate([np.full(offset, 0.9, np.float32), note(number)])
        soundfile.write(path, wave, RATE)
        clip_id = f"clip{number:02d}"
        rows.append((clip_id, str(path), offset, len(wave) - offset, RATE))
        log_mels[clip_id] = FRONT_END.log_mel(read_mono(path, offset=offset))
    manifest = pd.DataFrame(rows, columns=["clip_id", "path", "offset", "frames", "sample_rate"])
    store = LogMelStore.write(folder / "store", FRONT_END, log_mels)
    every = np.arange(40)
    centroids, _ = fit_centroids(store, every, n_centroids=4)
    data = TrainingSet(
        store, manifest[["clip_id"]], *store.statistics(every), k_mix_centroids=centroids.numpy()
    )
    return (
        data,
        manifest,
        draw_bank(Corpus.of(store, data.clips, name="toy"), data.k_mix_centroids, size=64),
    )


def test_examples_show_what_training_does(study):
    data, manifest, bank = study
    shown = k_mix_examples(data, manifest, bank, VIEWS, n_examples=4)
    assert len(shown.examples) == 4
    distances = centroid_distances(torch.from_numpy(data.k_mix_centroids)).numpy()
    for example in shown.examples:
        pair, images = example.pair, example.log_mels
        assert tuple(images) == tuple(example.sounds) == STEPS
        assert pair.distance == pytest.approx(distances[pair.cluster, pair.partner_cluster])
        furthest = np.sort(distances[pair.cluster, bank.clusters])[::-1][:8]
        assert pair.distance >= furthest[-1]
        assert pair.distance >= pair.median_distance
        mixed = np.logaddexp(
            images["crop"] + np.log1p(-pair.share), images["partner"] + np.log(pair.share)
        )
        np.testing.assert_allclose(images["k-mix"], mixed, atol=1e-5)
    assert len({example.pair.cluster for example in shown.examples}) == 4


def test_the_same_seed_shows_the_same(study):
    first, second = (k_mix_examples(*study, VIEWS, n_examples=2, seed=3) for _ in range(2))
    assert [e.pair for e in first.examples] == [e.pair for e in second.examples]
    other = k_mix_examples(*study, VIEWS, n_examples=2, seed=4)
    assert [e.pair for e in first.examples] != [e.pair for e in other.examples]


def test_few_clips_give_few_examples(study):
    data, manifest, bank = study
    few = TrainingSet(data.store, data.clips[:3], data.mean, data.std, data.k_mix_centroids)
    assert len(k_mix_examples(few, manifest, bank, VIEWS, n_examples=5).examples) == 3


def test_views_without_k_mix_are_refused(study):
    with pytest.raises(ValueError, match="uses no k-mix"):
        k_mix_examples(*study, {"mixing": "mixup"})


def normalised(data, clip_id, start, n_frames=96):
    crops, _ = data.store.crops(data.store.rows([clip_id]), np.array([start]), n_frames)
    return ((crops[0] - data.mean) / data.std).T.numpy()


@pytest.mark.parametrize(("clip", "start"), [(0, -20), (3, -1), (39, 0), (39, 25)])
def test_the_original_is_cut_where_the_crop_is(study, clip, start):
    data, manifest, _ = study
    clip_id = f"clip{clip:02d}"
    sound = CropPlayer(data, manifest).crop(normalised(data, clip_id, start), clip_id, start)
    assert sound.original
    assert len(sound.samples) == 95 * 160
    wave, hop = read_mono(manifest["path"][clip], offset=manifest["offset"][clip]), 160
    expected = np.zeros(95 * 160, dtype=np.float32)
    part = wave[max(start, 0) * hop :][: len(expected) - max(-start, 0) * hop]
    expected[max(-start, 0) * hop :][: len(part)] = part
    inner = slice(max(-start, 0) * hop + 200, max(-start, 0) * hop + len(part) - 200)
    np.testing.assert_allclose(sound.samples[inner], expected[inner], atol=0.01)
    assert not sound.samples[: max(-start, 0) * hop].any()


def test_a_file_that_has_gone_is_replaced_by_an_approximation(study):
    data, manifest, _ = study
    crop = normalised(data, "clip00", -20)
    moved = manifest.assign(path="/nowhere.wav")
    for known in (moved, manifest[1:]):
        sound = CropPlayer(data, known).crop(crop, "clip00", -20)
        assert not sound.original
        assert len(sound.samples) == 95 * 160
        again = FRONT_END.log_mel(sound.samples).T
        nats = crop * data.std + data.mean
        loud = nats > nats.max() - 5
        assert np.abs(again - nats)[loud].mean() < 1.0


def test_the_steps_of_a_teachers_views_show_its_mixing(study):
    data, manifest, _ = study
    clips = manifest.assign(label=[f"class {i % 3}" for i in range(40)])
    level = {"mean": data.mean, "std": data.std, "centroids": data.k_mix_centroids}
    k_mix, mixup = (
        example_views(data.store, clips, views=views, **level)
        for views in (VIEWS, {"mixing": "mixup", "mixup_bank": 64})
    )
    assert [list(steps)[1] for steps in (*k_mix.values(), *mixup.values())] == (
        ["k-mix"] * 3 + ["mixup"] * 3
    )
    for name, steps in k_mix.items():
        np.testing.assert_array_equal(steps["log-mel crop"], mixup[name]["log-mel crop"])
        assert not np.array_equal(steps["k-mix"], steps["log-mel crop"])
        assert not np.array_equal(steps["k-mix"], mixup[name]["mixup"])


def test_one_gain_for_all_sounds():
    sounds = [Sound(np.array([0.1, -0.2], np.float32), True), Sound(np.array([2.0], "f4"), False)]
    first, second = equally_loud(sounds)
    np.testing.assert_allclose(first.samples, [0.045, -0.09], rtol=1e-5)
    np.testing.assert_allclose(second.samples, [0.9], rtol=1e-5)
    assert (first.original, second.original) == (True, False)
    assert not equally_loud([Sound(np.zeros(3, np.float32), True)])[0].samples.any()


def test_figures_say_cluster_distance_and_share(study):
    shown = k_mix_examples(*study, VIEWS, n_examples=2)
    figure = kmix_pairs(shown)
    figure.canvas.draw()
    pair, titles = shown.examples[0].pair, [axes.get_title("left") for axes in figure.axes]
    assert f"crop: cluster {pair.cluster}" in titles
    assert any(f"{pair.distance:.0f} away" in title for title in titles)
    assert f"k-mix: {pair.share:.0%} partner" in titles
    with pytest.raises(ValueError, match="no example"):
        kmix_pairs(KMixExamples((), 16000, 0.01))


def test_the_figure_of_centroids_orders_them_by_loudness():
    centroids = torch.tensor([[3.0, 4.0], [-9.0, -8.0], [0.0, 1.0]])
    tables = [centroid_table(centroids, torch.tensor([5, 1, 3])).assign(fold=f) for f in (1, 2)]
    figure = k_mix_centroids(pd.concat(tables))
    bars, panel = figure.axes[:2]
    assert [bar.get_height() for bar in bars.patches] == [1, 3, 5]
    np.testing.assert_array_equal(panel.images[0].get_array(), centroids[[1, 2, 0]].T)
    assert "3 clusters, fold 1 of 2" in figure.get_suptitle()
