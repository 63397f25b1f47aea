import math

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from unfused.core.seeding import torch_generator
from unfused.encoders.encoder import band_means
from unfused.views import KMix, View, ViewMaker
from unfused.views.k_mix import (
    centroid_distances,
    furthest_first,
    nearest_centroids,
)
from unfused.views.mixup import Mixing
from unfused.views.settings import MethodViewSettings

N_MELS, FRAMES = 4, 6


def k_mix_of(centroids, *, size=16, furthest=4, ratio=0.4):
    how = MethodViewSettings(mixup_ratio=ratio, mixup_bank=size, k_mix_furthest=furthest)
    return KMix(how, N_MELS, FRAMES, torch.as_tensor(centroids, dtype=torch.float32))


def whole(log_mel):
    return View(log_mel, torch.tensor([0.0, FRAMES]).expand(len(log_mel), 2))


def numbered(first, end):
    """Return crops that hold nothing but their number."""
    number = torch.arange(float(first), end)
    return whole(number.view(-1, 1, 1, 1).expand(-1, 1, N_MELS, FRAMES))


def mixed(k_mix, crops, clusters, seed=0):
    return k_mix(whole(crops), clusters, torch_generator(seed, "x")).log_mel


def centroids_of(k, seed=0):
    return torch.randn(k, N_MELS, generator=torch_generator(seed, "centroids")) * 5 - 6


def filled(n_crops, *, k=5, size=16, furthest=4, batch=3):
    """Return a k-mix that has seen numbered crops, and the cluster of each."""
    k_mix = k_mix_of(centroids_of(k), size=size, furthest=furthest)
    clusters = torch.randint(k, (n_crops,), generator=torch_generator(1, "clusters"))
    for first in range(0, n_crops, batch):
        end = min(first + batch, n_crops)
        k_mix.remember(numbered(first, end), clusters[first:end])
    return k_mix, clusters


def sorted_queue(k_mix, clusters, own):
    """Sort the queue as the paper says, in plain Python: the furthest centroid first."""
    queue = list(enumerate(clusters.tolist()))[-len(k_mix.bank) :]  # from old to new
    centroids = k_mix.centroids.double().numpy()
    distance = [float(np.sqrt(((c - centroids[own]) ** 2).sum())) for c in centroids]
    return sorted(queue, key=lambda entry: (-distance[entry[1]], entry[1], entry[0]))


def test_a_case_worked_by_hand():
    k_mix = k_mix_of([[0.0] * 4, [1.0] * 4, [5.0] * 4], size=8, furthest=2)
    k_mix.remember(numbered(0, 5), torch.tensor([1, 0, 2, 1, 2]))
    # From cluster 0 clusters 2, 1, 0 are 10, 2 and 0 away: crops 2, 4 then 0, 3 then 1.
    entries = k_mix.ranked(torch.zeros(5, dtype=torch.int64), torch.arange(5))
    assert k_mix.bank[entries, 0, 0].tolist() == [2, 4, 0, 3, 1]
    # From cluster 2: cluster 0, then 1, then its own.
    entries = k_mix.ranked(torch.full((5,), 2), torch.arange(5))
    assert k_mix.bank[entries, 0, 0].tolist() == [1, 0, 3, 2, 4]


@pytest.mark.parametrize("n_crops", [1, 7, 16, 17, 40, 47])
def test_the_bank_is_sorted_as_a_loop_sorts_it(n_crops):
    k_mix, clusters = filled(n_crops)
    for own in range(5):
        expected = [number for number, _ in sorted_queue(k_mix, clusters, own)]
        rank = torch.arange(len(expected))
        entries = k_mix.ranked(torch.full_like(rank, own), rank)
        assert k_mix.bank[entries, 0, 0].tolist() == expected


@pytest.mark.parametrize("n_crops", [3, 16, 41])
def test_a_batch_equals_a_loop_over_its_crops(n_crops):
    k_mix, clusters = filled(n_crops)
    crops, own = torch.randn(50, 1, N_MELS, FRAMES), torch.arange(50) % 5
    found = mixed(k_mix, crops, own, 3)
    uniform = torch.rand(2, 50, generator=torch_generator(3, "x"))
    for i in range(50):
        candidates = sorted_queue(k_mix, clusters, int(own[i]))[:4]
        partner, _ = candidates[int(float(uniform[1, i]) * len(candidates))]
        share = float(uniform[0, i]) * 0.4
        expected = ((1 - share) * crops[i].exp() + share * math.exp(partner)).log()
        torch.testing.assert_close(found[i], expected, atol=1e-5, rtol=1e-5)


def test_equal_distances_go_by_cluster_number_then_age():
    k_mix = k_mix_of([[0.0] * 4, [3.0] * 4, [-3.0] * 4], size=8, furthest=2)
    k_mix.remember(numbered(0, 4), torch.tensor([2, 1, 2, 1]))
    entries = k_mix.ranked(torch.zeros(4, dtype=torch.int64), torch.arange(4))
    assert k_mix.bank[entries, 0, 0].tolist() == [1, 3, 0, 2]


def test_partners_and_shares_over_many_draws():
    k_mix, clusters = filled(40, furthest=6)
    own = torch.full((6000,), 3)
    mixing = k_mix.draw(own, torch_generator(0, "x"))
    expected = {number for number, _ in sorted_queue(k_mix, clusters, 3)[:6]}
    found, counts = k_mix.bank[mixing.partner, 0, 0].unique(return_counts=True)
    assert set(found.tolist()) == expected
    assert counts.float().std() < 100  # of 1000 each
    assert mixing.weight.min() >= 0
    assert mixing.weight.max() < 0.4
    assert mixing.weight.mean().item() == pytest.approx(0.2, abs=0.01)
    assert mixing.weight.std().item() == pytest.approx(0.4 / 12**0.5, abs=0.01)


def test_while_the_bank_fills_only_its_entries_are_drawn():
    k_mix, _ = filled(3, furthest=8)
    mixing = k_mix.draw(torch.arange(3000) % 5, torch_generator(0, "x"))
    assert set(k_mix.bank[mixing.partner, 0, 0].tolist()) == {0, 1, 2}
    assert set(mixing.partner.tolist()) == {0, 1, 2}


def test_an_empty_bank_mixes_nothing():
    k_mix, crops = k_mix_of(centroids_of(5)), torch.randn(5, 1, N_MELS, FRAMES)
    assert torch.equal(mixed(k_mix, crops, torch.arange(5)), crops)


def test_share_zero_returns_the_input():
    k_mix = k_mix_of(centroids_of(5), ratio=0)
    k_mix.remember(numbered(0, 9), torch.arange(9) % 5)
    crops = torch.randn(5, 1, N_MELS, FRAMES)
    assert torch.equal(mixed(k_mix, crops, torch.arange(5)), crops)


def test_the_bank_forgets_the_oldest_first_with_its_cluster():
    k_mix = k_mix_of(centroids_of(5), size=4, furthest=2)
    clusters = torch.tensor([4, 3, 2, 1, 0, 1, 2, 3, 4, 0])
    k_mix.remember(numbered(0, 3), clusters[:3])
    assert k_mix.clusters.tolist() == [4, 3, 2, 5]  # 5: no cluster, nothing there
    k_mix.remember(numbered(3, 5), clusters[3:5])
    assert k_mix.bank[:, 0, 0].tolist() == [4, 1, 2, 3]
    assert k_mix.clusters.tolist() == [0, 3, 2, 1]
    k_mix.remember(numbered(5, 10), clusters[5:10])  # more than the bank holds
    kept = dict(zip(k_mix.bank[:, 0, 0].int().tolist(), k_mix.clusters.tolist(), strict=True))
    assert kept == {6: 2, 7: 3, 8: 4, 9: 0}


def test_same_generator_same_result():
    k_mix, _ = filled(20)
    crops, own = torch.randn(5, 1, N_MELS, FRAMES), torch.arange(5)
    first, second = (mixed(k_mix, crops, own, 7) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, mixed(k_mix, crops, own, 8))


def test_one_crop_mixes_as_it_does_in_a_batch():
    k_mix, _ = filled(20)
    crops, own = torch.randn(5, 1, N_MELS, FRAMES), torch.arange(5)
    mixing = k_mix.draw(own, torch_generator(0, "x"))
    single = [
        k_mix.mix(whole(crops[i : i + 1]), Mixing(*(p[i : i + 1] for p in mixing))).log_mel
        for i in range(5)
    ]
    torch.testing.assert_close(k_mix.mix(whole(crops), mixing).log_mel, torch.cat(single))


def test_the_state_is_whole():
    k_mix, _ = filled(20)
    other = k_mix_of(centroids_of(5, seed=9))
    other.load_state_dict(k_mix.state_dict())
    crops, own = torch.randn(5, 1, N_MELS, FRAMES), torch.arange(5)
    assert torch.equal(mixed(k_mix, crops, own), mixed(other, crops, own))
    assert torch.equal(other.order, k_mix.order)


def test_band_means_leave_padding_out():
    log_mel = torch.randn(2, 1, N_MELS, FRAMES)
    means = band_means(*View(log_mel, torch.tensor([[0.0, 6.0], [2.0, 5.0]])))
    torch.testing.assert_close(means[0], log_mel[0, 0].mean(1))
    torch.testing.assert_close(means[1], log_mel[1, 0, :, 2:5].mean(1))


def test_the_nearest_centroid_is_that_of_all_distances():
    centroids = centroids_of(40) - 1000  # far from zero, where differences of squares are coarse
    crops = torch.randn(200, 1, N_MELS, FRAMES) * 5 - 1006
    batch = View(crops, torch.tensor([[0.0, 6.0]] * 200))
    exact = torch.cdist(band_means(*batch).double(), centroids.double())
    assert torch.equal(nearest_centroids(batch, centroids), exact.argmin(1))


def test_distances_are_symmetric_and_order_them():
    centroids = centroids_of(9)
    distances, order = centroid_distances(centroids), furthest_first(centroids)
    assert torch.equal(distances, distances.T)
    assert (distances.gather(1, order).diff(dim=1) <= 0).all()
    assert torch.equal(order[:, -1], torch.arange(9))  # itself last


def maker(**arguments):
    shape = {"mean": -5.0, "std": 2.0, "n_mels": N_MELS, "crop_frames": FRAMES}
    mixing = {"mixing": "k_mix", "k_mix_furthest": 4, "mixup_bank": 16}
    still = {"freq_scale": (1, 1), "time_scale": (1, 1)}
    return ViewMaker(
        **{**shape, **mixing, **still, "k_mix_centroids": centroids_of(5), **arguments}
    )


def batch_of(n=6, seed=0):
    log_mel = torch.randn(n, 1, N_MELS, FRAMES, generator=torch_generator(seed, "crops")) * 4 - 6
    return View(log_mel, torch.tensor([[0.0, 6.0]] * (n - 1) + [[2.0, 5.0]]))


def test_clusters_come_from_un_normalised_crops():
    views = maker()
    views(batch_of(), 2, torch_generator(0, "x"))
    expected = nearest_centroids(batch_of(), centroids_of(5))
    assert views.mixup.clusters[:6].tolist() == expected.tolist()
    torch.testing.assert_close(views.mixup.bank[:6], views.plain(batch_of()).log_mel[:, 0])
    # whatever crops are normalised with, partners stay the same
    other = maker(mean=3.0, std=7.0)
    other(batch_of(), 2, torch_generator(0, "x"))
    assert torch.equal(other.mixup.clusters, views.mixup.clusters)


def test_views_are_mixed_before_they_are_cropped():
    views = maker(freq_scale=(0.6, 1.5))
    views(batch_of(), 1, torch_generator(0, "x"))
    batch, generator = batch_of(seed=1), torch_generator(1, "x")
    own = views.mixup.nearest(batch)
    expected = views.augmented(views.mixup(views.plain(batch), own, generator), generator)
    (view,) = views(batch, 1, torch_generator(1, "x"))
    assert torch.equal(view.log_mel, expected.log_mel)


def test_each_crop_of_a_clip_has_its_own_cluster():
    views = maker()
    views(batch_of(), 1, torch_generator(0, "x"))
    batch = batch_of(seed=1)
    view_a, view_b = views(batch, 2, torch_generator(1, "x"), n_crops=2)
    generator, own = torch_generator(1, "x"), nearest_centroids(batch, centroids_of(5))
    again = maker()
    again(batch_of(), 1, torch_generator(0, "x"))
    for view, half in ((view_a, slice(0, 3)), (view_b, slice(3, 6))):
        plain = View(*(part[half] for part in again.plain(batch)))
        assert torch.equal(view.log_mel, again.mixup(plain, own[half], generator).log_mel)


@pytest.mark.parametrize("nothing", [{"mixup_ratio": 0}, {"mixing": "none"}])
def test_no_mixing_only_normalises(nothing):
    views = maker(**nothing)
    (view,) = views(batch_of(), 1, torch_generator(0, "x"))
    assert torch.equal(view.log_mel, views.plain(batch_of()).log_mel)
    assert views.state_dict() == {}


def test_a_restored_maker_goes_on_with_the_same_views():
    views, other = maker(), maker()
    views(batch_of(), 2, torch_generator(0, "x"))
    other.load_state_dict(views.state_dict())
    pair, again = (each(batch_of(seed=1), 2, torch_generator(1, "x")) for each in (views, other))
    assert all(torch.equal(a.log_mel, b.log_mel) for a, b in zip(pair, again, strict=True))


def test_the_log_tells_centroids_apart():
    assert repr(maker()) == repr(maker())
    assert repr(maker()) != repr(maker(k_mix_centroids=centroids_of(5, seed=1)))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"k_mix_centroids": None}, "needs k_mix_centroids"),
        ({"k_mix_centroids": torch.zeros(3, 9)}, r"\(3, 9\) must be \(K, 4\)"),
        ({"k_mix_centroids": torch.full((3, 4), math.nan)}, "must be finite"),
        ({"k_mix_furthest": 16}, "k_mix_furthest=16 .* mixup_bank=16"),
        ({"k_mix_furthest": 0}, "k_mix_furthest=0"),
        ({"mixup_ratio": 1.5}, "mixup_ratio=1.5"),
        ({"mixing": "kmix"}, "mixing='kmix' is unknown"),
    ],
)
def test_errors_name_value_and_rule(arguments, named):
    with pytest.raises(ValueError, match=named):
        maker(**arguments)


def test_nothing_waits_for_the_device():
    """On tensors without values any read of a value by the host raises."""
    views, batch = maker(freq_scale=(0.6, 1.5)), batch_of()
    mode = FakeTensorMode()
    fake = {name: mode.from_tensor(value) for name, value in views.state_dict().items()}
    crops = View(*map(mode.from_tensor, batch))
    with mode:
        call = (crops, 2, torch_generator(0, "x"))
        views_of = torch.func.functional_call(views, fake, call)
    assert [tuple(view.log_mel.shape) for view in views_of] == [(6, 1, N_MELS, FRAMES)] * 2
    with mode, pytest.raises(DataDependentOutputException):
        crops.log_mel.sum().item()  # so the test can fail
