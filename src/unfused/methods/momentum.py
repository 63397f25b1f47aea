"""Methods with a momentum teacher: what BYOL-A and SELFIE, and what SLICER and DeLoRes-M share."""

import logging
from copy import deepcopy
from math import cos, pi
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from ..core.distributed import gather_rows
from ..core.errors import UserError, must_be
from ..encoders.encoder import Encoder
from ..encoders.projector import Projector
from ..losses.collapse import embedding_health
from ..views.effects import post_normalisation
from .method import Method, Views

log = logging.getLogger(__name__)
MAX_QUEUE = 65536  # MoCo's, and that of the official code of SLICER and DeLoRes-M
M = TypeVar("M", bound=nn.Module)


def momentum_copy(online: M) -> M:
    """Return a copy of a network that gets no gradient and follows by :func:`follow`.

    In training mode its batch norm normalises with the statistics of its own batch, as in MoCo and
    BYOL, but its running averages follow the online network's, like the weights. So in evaluation
    mode the copy is the network's average in every number it holds.
    """
    copy = deepcopy(online).requires_grad_(False)
    copy.zero_grad(set_to_none=True)
    for module in copy.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = 0.0
    return copy


@torch.no_grad()
def follow(teacher: nn.Module, online: nn.Module, momentum: float) -> None:
    """Move a momentum copy towards its network: ``teacher = m * teacher + (1 - m) * online``.

    Parameters and running averages are averaged, all in a few kernel launches; counters are copied.
    Weights in half precision are refused by a UserError.
    """
    mine, others = ([*module.parameters(), *module.buffers()] for module in (teacher, online))
    for m, o in zip(mine, others, strict=True):
        if not m.is_floating_point():
            m.copy_(o)
        elif m.element_size() < 4:
            raise UserError(
                f"a momentum copy in {m.dtype} stands still, a step of its average being less than "
                "half a unit in the last place: keep float32 and compute under autocast"
            )
    copies, originals = ([t for t in each if t.is_floating_point()] for each in (mine, others))
    torch._foreach_lerp_(copies, originals, weight=1.0 - momentum)


class MomentumMethod(Method):
    """A student, which is trained, and a teacher, the moving average of its encoder and projector.

    Args:
        momentum: Share of itself that the teacher keeps at each step.
        momentum_end: The same at the last step, reached along half a cosine (BYOL: 1, so that the
            teacher comes to rest); None: ``momentum`` throughout.
        crop_frames: Length of a crop.

    Raises:
        UserError: A number is out of range.
    """

    def __init__(
        self,
        encoder: Encoder,
        projector: Projector,
        *,
        momentum: float,
        momentum_end: float | None = None,
        crop_frames: int = 96,
    ) -> None:
        super().__init__()
        must_be("in [0, 1]", momentum=momentum, momentum_end=momentum_end)
        self.n_views, self.crop_frames = 2, crop_frames
        self.momentum = momentum
        self.momentum_end = momentum if momentum_end is None else momentum_end
        self.graphable = self.momentum_end == momentum
        self.encoder, self.projector = encoder, projector
        self.teacher_encoder = momentum_copy(encoder)
        self.teacher_projector = momentum_copy(projector)

    def momentum_at(self, progress: float) -> float:
        """Return the momentum when a share of the training is done (arXiv 2006.07733, sec. 3.2)."""
        way = (1 - cos(pi * progress)) / 2
        return self.momentum + way * (self.momentum_end - self.momentum)

    def after_step(self, step: int) -> None:
        """Move the teacher after the student."""
        momentum = self.momentum_at(self.progress)
        follow(self.teacher_encoder, self.encoder, momentum)
        follow(self.teacher_projector, self.projector, momentum)


class OnlineTarget(MomentumMethod):
    """Online encoder, projector and predictor beside a target encoder and projector, the teacher.

    The target has no predictor and gets no gradient (BYOL, arXiv 2006.07733). Projector and
    predictor are Linear, batch norm, ReLU, Linear. Batch norm sees each view alone.

    Args:
        projector_hidden: Hidden width of projector and predictor (BYOL-A's code: 4096).
        projector_dim: Output dimension of both (BYOL-A's code: 256).
        momentum: Share of itself that the target keeps at every step (BYOL-A's code: 0.99).
        post_normalisation: Standardise the augmented batch, as BYOL-A does.
        **shared: See :class:`MomentumMethod`.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        projector_hidden: int = 4096,
        projector_dim: int = 256,
        momentum: float = 0.99,
        post_normalisation: bool = True,
        **shared: Any,
    ) -> None:
        widths: Any = {"hidden": projector_hidden, "outputs": projector_dim}
        projector = Projector(inputs=encoder.dim, **widths)
        super().__init__(encoder, projector, momentum=momentum, **shared)
        self.post_normalisation = post_normalisation
        self.predictor = Projector(inputs=projector_dim, **widths)

    def branches(self, views: Views) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Return predictions of views a and b, their targets, and the health of a's projection.

        They are the rows of all processes, (B, D) each; targets have no gradient.
        """
        if self.post_normalisation:
            views = post_normalisation(views)
        z_a, z_b = (self.projector(self.encoder(*view)) for view in views)
        with torch.no_grad():
            targets = [self.teacher_projector(self.teacher_encoder(*view)) for view in views]
        rows = (self.predictor(z_a), self.predictor(z_b), *targets)
        return [gather_rows(part.float()) for part in rows], embedding_health(z_a)


class NegativesQueue(nn.Module):
    """First-in-first-out queue of ``size`` L2-normalised keys of ``dim`` dimensions, in buffers.

    It starts full of random directions, as MoCo's does (arXiv 1911.05722), and is the same in all
    processes. Reading and writing never make the host wait.
    """

    keys: Tensor
    position: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        if size < 1 or dim < 1:
            raise UserError(f"a queue of {size} keys of {dim} dimensions: both must be at least 1")
        self.register_buffer("keys", F.normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """Put keys, (B, D), normalised here, in the place of the oldest ones.

        Those of process 0 come first. Of more keys than the queue holds, the last stay. Call it in
        :meth:`Method.after_step`, so that no sample is its own negative.
        """
        size = len(self.keys)
        newest = F.normalize(gather_rows(keys.detach())[-size:].to(self.keys.dtype), dim=1)
        slots = (self.position + torch.arange(len(newest), device=newest.device)) % size
        self.keys.index_copy_(0, slots, newest)
        self.position.copy_((self.position + len(newest)) % size)

    def similarity(self, keys: Tensor) -> Tensor:
        """Return the mean cosine of keys, (B, D), with the queue's: near 1 after a collapse."""
        mean = F.normalize(keys.detach().float(), dim=1).mean(dim=0)
        return mean @ self.keys.float().mean(dim=0)


def queue_size(asked: int | None, usual: int, keys_a_pass: int) -> int:
    """Return how many keys a queue shall hold; None: as usual for the corpus, 1 to 65536.

    More than are enqueued in a pass get a warning, because clips meet their own old keys.
    """
    if asked is None:
        return min(MAX_QUEUE, max(1, usual))
    if asked > keys_a_pass:
        log.warning(
            "queue_size=%d is %.1f passes over the training clips: clips find their own old keys "
            "among their negatives; set queue_size to %d or less, or leave it out",
            *(asked, asked / keys_a_pass, max(1, keys_a_pass // 2)),
        )
    return asked


class MomentumContrast(MomentumMethod):
    """The student's queries are contrasted with the teacher's keys, past ones being the negatives.

    (MoCo, arXiv 1911.05722.) ``forward`` of a subclass appends the step's keys to ``new_keys``.

    Args:
        queue_size: Keys in the queue.
        momentum: Share of itself that the teacher keeps at each step (official code: 0.999).
        temperature: Of the instance contrast (official code: 0.07).
        projector_hidden: Hidden width of the instance head (our choice; unknown).
        projector_layers: Hidden layers of the instance head, ReLU without batch norm (official
            code: 0, a single linear layer; MoCo-v2 and the figure in SLICER's paper: 1).
        projector_dim: Dimension of the keys (official code: 128).
        **shared: See :class:`MomentumMethod`.
    """

    def __init__(
        self,
        encoder: Encoder,
        queue_size: int,
        *,
        momentum: float = 0.999,
        temperature: float = 0.07,
        projector_hidden: int = 2048,
        projector_layers: int = 1,
        projector_dim: int = 128,
        **shared: Any,
    ) -> None:
        must_be("positive", temperature=temperature)
        projector = Projector(
            inputs=encoder.dim, hidden=projector_hidden, outputs=projector_dim,
            hidden_layers=projector_layers, batch_norm=False,
        )  # fmt: skip
        super().__init__(encoder, projector, momentum=momentum, **shared)
        self.temperature = temperature
        self.queue = NegativesQueue(queue_size, projector_dim)
        self.new_keys: list[Tensor] = []  # of each forward pass before after_step

    def after_step(self, step: int) -> None:
        """Enqueue the keys of the step's forward passes; move the teacher after the student."""
        for keys in self.new_keys:
            self.queue.enqueue(keys)
        self.new_keys = []
        super().after_step(step)
