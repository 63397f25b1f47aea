"""k-mix: log-mixup-exp with partners from clusters far away from the crop's own."""

import torch
from torch import Tensor

from ..core.errors import UserError
from ..core.outputs import mark_of
from ..encoders.encoder import band_means
from .mixup import LogMixupExp
from .settings import MethodViewSettings
from .view import View


def nearest_centroids(batch: View, centroids: Tensor) -> Tensor:
    """Return the cluster of each un-normalised crop in nats, (B,) int64; the lower of equals."""
    origin = centroids.mean(0)  # far from zero, differences of squares lose their digits
    means, centred = band_means(*batch) - origin, centroids - origin
    return torch.addmm(centred.square().sum(1), means, centred.T, alpha=-2.0).argmin(1)


def centroid_distances(centroids: Tensor) -> Tensor:
    """Return the Euclidean distance of each two centroids, (K, K) float64, exactly symmetric."""
    wide = centroids.double()
    return torch.cdist(wide, wide, compute_mode="donot_use_mm_for_euclid_dist")


def furthest_first(centroids: Tensor) -> Tensor:
    """Return clusters by falling distance from each, (K, K) int64; the lower of equals first."""
    return centroid_distances(centroids).argsort(dim=1, descending=True, stable=True)


class KMix(LogMixupExp):
    """SLICER's k-mix (arXiv 2211.01519): mix a crop with one that sounds unlike it.

    A crop belongs to the cluster of the centroid nearest to its time-mean. Its partner is drawn
    evenly from the first ``furthest`` entries of the bank (the paper's r), sorted by falling
    distance between the centroids of their cluster and the crop's; entries at one distance stand by
    cluster number, then from old to new.

    Centroids, (K, F), crops and bank entries are compared as un-normalised time-means, in nats.
    (LAPE's code takes them from three different spaces, and only from the furthest cluster that has
    an entry at all; the order here is the paper's.) What is mixed are the normalised log-mels.

    Raises:
        UserError: There are no centroids, or they are not finite and (K, F).
    """

    centroids: Tensor
    order: Tensor

    def __init__(
        self, how: MethodViewSettings, n_mels: int, crop_frames: int, centroids: Tensor | None
    ) -> None:
        if centroids is None:
            raise UserError(
                "mixing='k_mix' needs k_mix_centroids, as unfused.views.fit_centroids finds them; "
                "or set mixing to 'mixup'"
            )
        fitting = centroids.shape[1:] == (n_mels,) and len(centroids)
        if not (fitting and torch.isfinite(centroids).all()):
            raise UserError(
                f"k_mix_centroids of shape {tuple(centroids.shape)} must be (K, {n_mels}) and must "
                "be finite: fit them on log-mels of this front-end"
            )
        super().__init__(how, n_mels, crop_frames)
        self.furthest = how.k_mix_furthest
        self.register_buffer("centroids", centroids.float())
        self.register_buffer("order", furthest_first(self.centroids))
        self.clusters.fill_(len(centroids))  # an empty slot belongs to no cluster: number K

    def nearest(self, batch: View) -> Tensor:
        """See :func:`nearest_centroids`."""
        return nearest_centroids(batch, self.centroids)

    def ranked(self, clusters: Tensor, rank: Tensor) -> Tensor:
        """Return the entry at place ``rank``, (B,), 0 the furthest, of each crop's sorted bank.

        Nothing is sorted per crop: the bank is grouped by cluster once, and walking along a crop's
        clusters from the furthest on, the counts tell in which group its rank falls.
        """
        size, k = len(self.bank), len(self.centroids)
        age = (torch.arange(size, device=self.bank.device) - self.position) % size  # 0: the oldest
        grouped = (self.clusters * size + age).argsort()  # by cluster, then age; empty slots last
        ones = torch.ones_like(self.clusters)
        counts = torch.zeros(k + 1, dtype=torch.int64, device=ones.device)
        counts = counts.scatter_add_(0, self.clusters, ones)[:k]
        walk = self.order[clusters]  # (B, K)
        passed = counts[walk].cumsum(1)
        stop = torch.searchsorted(passed, rank[:, None], right=True).clamp(max=k - 1)
        found = walk.gather(1, stop).squeeze(1)
        within = rank - (passed.gather(1, stop).squeeze(1) - counts[found])
        return grouped[(counts.cumsum(0) - counts)[found] + within]

    def extra_repr(self) -> str:
        """Return the centroids for the log and for the mark of a training."""
        return f"{len(self.centroids)} centroids {mark_of(of=self.centroids.cpu().numpy())}"
