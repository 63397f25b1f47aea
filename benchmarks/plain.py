"""The plain way of pre-training: sample by sample in Python, float32, as official code does it.

Written for the benchmarks after the authors' published code; what is slow in it is what that code
does. Where a plain variant is known that costs less, the benchmarks take that one.
"""

from __future__ import annotations

import random
from copy import deepcopy
from pathlib import Path

import librosa
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unfused.data.log_mel import FrontEnd

FRAMES, MELS, BANK, FURTHEST, RATIO = 96, 64, 2048, 128, 0.4
QUEUE, DIM, CLUSTERS = 65536, 128, 128
FRONT_END = FrontEnd()


def log_mel(path: str | Path) -> np.ndarray:
    """Return a file's log-mel as a script makes it, (F, T)."""
    rate = FRONT_END.sample_rate
    mel = librosa.feature.melspectrogram(
        y=librosa.load(path, sr=rate, res_type="soxr_hq")[0],
        sr=rate,
        n_fft=FRONT_END.n_fft,
        hop_length=FRONT_END.hop,
        n_mels=FRONT_END.n_mels,
        fmin=FRONT_END.f_min,
        fmax=FRONT_END.f_max,
        pad_mode="reflect",
    )
    return np.log(mel + FRONT_END.eps)


def crop(clip: np.ndarray, length: int = FRAMES) -> np.ndarray:
    """Return a random crop of a log-mel, (F, T) to (F, length)."""
    start = random.randint(0, max(clip.shape[1] - length, 0))
    piece = clip[:, start : start + length]
    padding = (0, 0), (0, length - piece.shape[1])
    return np.pad(piece, padding, constant_values=FRONT_END.pad_value)


class PlainViews:
    """Two views of one crop, with a bank of past crops (BYOL-A's, in SLICER with k-mix).

    Args:
        mean: Of the training clips' log-mels.
        std: Their deviation.
        centroids: For k-mix, (K, F); None: plain mixup.
        keep: Keep the bank's clusters; the official code of k-mix finds them for every crop anew.
    """

    def __init__(
        self, mean: float, std: float, centroids: Tensor | None = None, *, keep: bool = True
    ) -> None:
        self.mean, self.std, self.centroids, self.keep = mean, std, centroids, keep
        self.bank: list[Tensor] = []
        self.clusters: list[int] = []
        if centroids is not None:
            self.distances = torch.cdist(centroids, centroids).tolist()

    def __call__(self, log_mel: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return two views, (1, F, T) each."""
        x = (torch.from_numpy(log_mel) - self.mean) / self.std
        views = self._resize_crop(self._mixed(x)), self._resize_crop(self._mixed(x))
        self.remember(x)
        return views

    def remember(self, x: Tensor) -> None:
        """Put a normalised crop, (F, T), into the bank."""
        self.bank = [*self.bank, x][-BANK:]
        if self.centroids is not None and self.keep:
            self.clusters = [*self.clusters, self._nearest(x)][-BANK:]

    def _nearest(self, x: Tensor) -> int:
        assert self.centroids is not None
        means = x.mean(1) * self.std + self.mean
        return int((self.centroids - means).norm(dim=1).argmin())

    def _partner(self, x: Tensor) -> Tensor:
        if self.centroids is None:
            return random.choice(self.bank)
        clusters = self.clusters if self.keep else [self._nearest(entry) for entry in self.bank]
        away = self.distances[self._nearest(x)]
        queue = sorted(range(len(self.bank)), key=lambda entry: -away[clusters[entry]])
        return self.bank[random.choice(queue[:FURTHEST])]

    def _mixed(self, x: Tensor) -> Tensor:
        if not self.bank:
            return x
        share = RATIO * random.random()
        return torch.log((1 - share) * x.exp() + share * self._partner(x).exp())

    def _resize_crop(self, x: Tensor) -> Tensor:
        wide = torch.zeros(MELS, FRAMES * 3 // 2)
        left = (wide.shape[1] - FRAMES) // 2
        wide[:, left : left + FRAMES] = x
        height = min(MELS, int(random.uniform(0.6, 1.5) * MELS))
        width = int(random.uniform(0.6, 1.5) * FRAMES)
        top = random.randint(0, MELS - height)
        first = random.randint(0, wide.shape[1] - width)
        box = wide[None, None, top : top + height, first : first + width]
        size = (MELS, FRAMES)
        return F.interpolate(box, size, mode="bicubic", align_corners=True)[0]


class PlainEncoder(nn.Module):
    """Convolution, batch norm, ReLU, pooling, in this order; two linear layers; max + mean."""

    def __init__(self, d: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs in (1, 64, 64):
            layers += [nn.Conv2d(inputs, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU()]
            layers.append(nn.MaxPool2d(2, stride=2))
        self.features = nn.Sequential(*layers)
        self.fc = nn.Sequential(
            nn.Linear(512, d), nn.ReLU(), nn.Dropout(0.3), nn.Linear(d, d), nn.ReLU()
        )

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return (B, d)."""
        x = self.fc(self.features(log_mel).permute(0, 3, 2, 1).flatten(2))
        return x.max(dim=1).values + x.mean(dim=1)


class PlainDECAR(nn.Module):
    """View A refreshes the bank, view B is classified by the prototypes."""

    def __init__(self, d: int, n_clips: int) -> None:
        super().__init__()
        projector = nn.Linear(d, 2048), nn.BatchNorm1d(2048), nn.ReLU(), nn.Linear(2048, 512)
        self.network = nn.Sequential(PlainEncoder(d), *projector)
        self.bank = F.normalize(torch.randn(n_clips, 512), dim=1)
        self.prototypes = nn.Linear(512, max(2, min(1024, n_clips // 10)), bias=False)
        self.prototypes.requires_grad_(False)
        self.start_epoch()

    def start_epoch(self) -> None:
        """Cluster the bank, ten iterations from random clips."""
        centroids = self.bank[torch.randperm(len(self.bank))[: self.prototypes.out_features]]
        for _ in range(10):
            self.targets = (self.bank @ centroids.T).argmax(1)
            for number in range(len(centroids)):
                members = self.bank[self.targets == number]
                if len(members):
                    centroids[number] = F.normalize(members.mean(0), dim=0)
        self.prototypes.weight.copy_(centroids)

    def forward(self, a: Tensor, b: Tensor, clips: Tensor) -> Tensor:
        """Return the loss."""
        with torch.no_grad():
            self.bank[clips] = F.normalize(self.network(a), dim=1)
        z = F.normalize(self.network(b), dim=1)
        return F.cross_entropy(self.prototypes(z) / 0.1, self.targets[clips])


class PlainSLICER(nn.Module):
    """Each direction is a pass of its own that copies the queue and allocates teacher weights."""

    queue: Tensor

    def __init__(self, d: int, momentum: float = 0.999) -> None:
        super().__init__()
        self.student = nn.ModuleList([PlainEncoder(d), nn.Linear(d, DIM)])
        self.teacher = deepcopy(self.student).requires_grad_(False)
        self.cluster = nn.Sequential(
            nn.Linear(d, 2048), nn.ReLU(), nn.Linear(2048, CLUSTERS), nn.Softmax(dim=1)
        )
        self.register_buffer("queue", F.normalize(torch.randn(DIM, QUEUE), dim=0))
        self.position, self.momentum = 0, momentum

    def direction(self, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Contrast one view of the student with the other of the teacher."""
        h = self.student[0](queries)
        q = F.normalize(self.student[1](h), dim=1)
        with torch.no_grad():
            pairs = zip(self.student.parameters(), self.teacher.parameters(), strict=True)
            for online, slow in pairs:
                slow.data = slow.data * self.momentum + online.data * (1 - self.momentum)
            k = F.normalize(self.teacher[1](self.teacher[0](keys)), dim=1)
        positive = torch.einsum("nc,nc->n", q, k).unsqueeze(-1)
        negative = torch.einsum("nc,ck->nk", q, self.queue.clone().detach())
        logits = torch.cat([positive, negative], dim=1) / 0.07
        loss = F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long))
        self.queue[:, self.position : self.position + len(k)] = k.T
        self.position = (self.position + len(k)) % QUEUE
        return loss, self.cluster(h)

    def forward(self, a: Tensor, b: Tensor, clips: Tensor) -> Tensor:
        """Return the loss."""
        (a_to_b, p_a), (b_to_a, p_b) = self.direction(a, b), self.direction(b, a)
        columns = torch.cat([p_a.T, p_b.T])
        similarity = F.cosine_similarity(columns[:, None], columns[None], dim=2)
        same = torch.arange(2 * CLUSTERS)
        similarity = similarity.masked_fill(same[:, None] == same, -torch.inf)
        return a_to_b + b_to_a + F.cross_entropy(similarity, same.roll(CLUSTERS))


class PlainTraining:
    """Steps of a plain method: clips one after the other, then a pass in float32.

    Args:
        method: What is trained.
        views: Of one crop.
    """

    def __init__(self, method: nn.Module, views: PlainViews) -> None:
        self.method, self.views = method, views
        rest = {"momentum": 0.9, "weight_decay": 1e-4}
        self.optimiser = torch.optim.SGD(method.parameters(), 1e-3, **rest)

    def step(self, log_mels: list[np.ndarray], clips: Tensor) -> None:
        """Train on whole clips, each (F, T)."""
        pairs = [self.views(crop(clip)) for clip in log_mels]
        a, b = (torch.stack(view) for view in zip(*pairs, strict=True))
        loss = self.method(a, b, clips)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
