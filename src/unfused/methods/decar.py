"""DECAR-v2, UnFuSeD's upstream: cluster one view of every clip, predict the cluster from the other.

(UnFuSeD, arXiv 2303.05668; DECAR, arXiv 2110.08895; a relative of DeepCluster-v2.) Two accidents of
the official code are not copied: its crop always started at a clip's first frame, and its
learning-rate schedule was built but never applied.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ..clustering.kmeans import Initialisation, KMeans
from ..core.distributed import gather_rows
from ..core.errors import UserError, must_be
from ..core.seeding import derive_seed
from ..encoders.encoder import Encoder
from ..encoders.projector import Projector
from ..losses.collapse import embedding_health, perplexity
from ..losses.decar import prototype_cross_entropy
from ..views.view import View
from .method import Embed, LossAndMetrics, Method, Views

MAX_PROTOTYPES = 1024


class DECAR(Method):
    """Prototype classification of view B against clusters of view A.

    The centroids of k-means on a memory bank with one embedding per clip become the prototypes at
    the start of every epoch. During the epoch view A only refreshes the bank; the cross entropy of
    view B's prototype logits trains encoder and projector. Both views pass in training mode, so
    batch norm sees the statistics of each separately and its running averages those of both.

    Args:
        n_clips: Number of training clips N.
        n_prototypes: Number of clusters K. Official code: 1024, for 250,000 clips. None: 1024, or
            a tenth of the clips if that is fewer (our choice).
        projector_hidden: Hidden width of the projector (official code: 2048).
        projector_dim: Dimension of the embeddings z that are clustered (official code: 512).
        normalise_z: L2-normalise z (DeepCluster-v2 and our choice; official code: False).
        temperature: Divides the logits (DeepCluster-v2 and our choice: 0.1; official code: 1).
        kmeans_iterations: Updates of the centroids each epoch (official code: 10).
        kmeans_init: Start of k-means (our choice: k-means++; official code: random clips).
        crop_frames: Length of a crop (official code: 0.98 s, 96-99 frames of 10 ms).

    Raises:
        UserError: There are too few clips for the prototypes, or a number is out of range.
    """

    name: ClassVar[str] = "decar"
    graphable = True
    bank: Tensor
    assignments: Tensor
    prototypes: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        n_clips: int,
        n_prototypes: int | None = None,
        projector_hidden: int = 2048,
        projector_dim: int = 512,
        normalise_z: bool = True,
        temperature: float = 0.1,
        kmeans_iterations: int = 10,
        kmeans_init: Initialisation = "kmeans++",
        crop_frames: int = 96,
    ) -> None:
        super().__init__()
        must_be("positive", temperature=temperature)
        must_be("at least 1", kmeans_iterations=kmeans_iterations)
        n = max(2, min(MAX_PROTOTYPES, n_clips // 10)) if n_prototypes is None else n_prototypes
        if not 2 <= n <= n_clips:
            raise UserError(
                f"n_prototypes={n} must be at least 2 and at most the number of training clips, "
                f"{n_clips}; set n_prototypes lower, or give more unlabelled audio"
            )
        self.encoder, self.n_views, self.crop_frames = encoder, 2, crop_frames
        self.normalise_z, self.temperature = normalise_z, temperature
        self.n_prototypes, self.kmeans_iterations = n, kmeans_iterations
        self.kmeans_init: Initialisation = kmeans_init
        widths: Any = {"hidden": projector_hidden, "outputs": projector_dim}
        self.projector = Projector(inputs=encoder.dim, **widths)
        self.register_buffer("bank", torch.zeros(n_clips, projector_dim))
        self.register_buffer("assignments", torch.zeros(n_clips, dtype=torch.long))
        self.register_buffer("prototypes", torch.zeros(self.n_prototypes, projector_dim))

    def start_epoch(self, epoch: int, embed: Embed, seed: int) -> dict[str, Tensor]:
        """Cluster the bank, in epoch 0 after filling it; the prototypes are its centroids."""
        if epoch == 0:
            self.bank.copy_(embed(self._first_z))
        kmeans = KMeans(
            self.n_prototypes, n_iterations=self.kmeans_iterations, spherical=True,
            init=self.kmeans_init, seed=derive_seed(seed, "prototypes", epoch),
        ).fit(self.bank)  # fmt: skip
        self.prototypes.copy_(kmeans.centroids_)
        self.assignments.copy_(kmeans.labels_)
        sizes = torch.bincount(kmeans.labels_, minlength=self.n_prototypes).float()
        inertia = torch.tensor(kmeans.inertia_ / len(self.bank), device=self.bank.device)
        return {"cluster_perplexity": perplexity(sizes), "cluster_inertia": inertia}

    def forward(self, views: Views, clip_ids: Tensor) -> LossAndMetrics:
        """See :meth:`Method.forward`."""
        view_a, view_b = views
        with torch.no_grad():
            z_a = gather_rows(self._z(view_a).to(self.bank))  # every process has the whole bank
            self.bank[gather_rows(clip_ids)] = z_a
        z_b = self._z(view_b)
        targets = self.assignments[clip_ids]
        loss, logits = prototype_cross_entropy(z_b, self.prototypes, targets, self.temperature)
        return loss, {
            "loss": loss.detach(),
            "assignment_accuracy": (logits.argmax(dim=1) == targets).float().mean(),
            "prototype_perplexity": perplexity(logits.softmax(dim=1).mean(dim=0)),
            **embedding_health(z_b),
        }

    def _first_z(self, views: Views) -> Tensor:
        """Return view A's z as training will see it, in training mode.

        With the running averages of an untrained network, batch norm would leave all clips in
        nearly one direction, and the first prototypes far from the first z.
        """
        self.train(len(views[0].log_mel) > 1)
        return self._z(views[0])

    def _z(self, view: View) -> Tensor:
        z = self.projector(self.encoder(*view))
        return F.normalize(z.float(), dim=1) if self.normalise_z else z
