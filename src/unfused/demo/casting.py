"""Which programmes of a SoundFont train, which test, and which stay out of the task."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from unfused.core.seeding import numpy_generator
from unfused.demo.soundfont import sharing_groups

from ..core.errors import UserError

FAMILIES_TABLE = Path(__file__).with_name("instrument_families.csv")
_OVERALL = 4  # weight of the overall share beside those of the families
_IMPOSSIBLE = 1e6  # more than any spread of shares can cost


@dataclass(frozen=True)
class Casting:
    """Who takes which part.

    Attributes:
        families: Programme -> family, for the programmes of the task.
        left_out: Families that have fewer than two groups of programmes without shared samples.
        groups: Programme -> name of its group, e.g. ``group-07``.
        test: Programmes of the test groups.
        unlabelled: Programmes of left-out families that share no sample with a test programme.
    """

    families: Mapping[int, str]
    left_out: tuple[str, ...]
    groups: Mapping[int, str]
    test: frozenset[int]
    unlabelled: tuple[int, ...]


def read_families(path: Path = FAMILIES_TABLE) -> dict[int, str]:
    """Return General MIDI programme -> NSynth instrument family, without those that have none."""
    table = pd.read_csv(path, keep_default_na=False)
    return {
        int(programme): family
        for programme, family in zip(table["programme"], table["family"], strict=True)
        if family
    }


def cast_programmes(
    samples: Mapping[int, Collection[str]],
    families: Mapping[int, str],
    *,
    test_fraction: float,
    seed: int,
) -> Casting:
    """Decide which programmes train, test or stay out.

    Args:
        samples: Programme -> ids of the recordings it sounds.
        families: Programme -> family; programmes that the SoundFont lacks are passed over.
        test_fraction: Share of each family's programmes that the test groups aim at.
        seed: Chooses among equally good test groups.

    Raises:
        ValueError: Fewer than two families can be split, or no choice of groups splits them all.
    """
    present = {programme: family for programme, family in families.items() if programme in samples}
    kept = _splittable(present, samples)
    left_out = tuple(sorted(set(present.values()) - set(kept.values())))
    if len(set(kept.values())) < 2:
        raise UserError(
            f"{len(set(kept.values()))} families have two groups of programmes that share no "
            "sample, and the task needs two; use a SoundFont with more instruments"
        )
    groups = sharing_groups({programme: samples[programme] for programme in kept})
    chosen = choose_test_groups(groups, kept, test_fraction=test_fraction, seed=seed)
    test = frozenset(programme for at in chosen for programme in groups[at])
    heard = {sample for programme in test for sample in samples[programme]}
    outside = sorted(set(present) - set(kept))
    return Casting(
        families=kept,
        left_out=left_out,
        groups={p: f"group-{at + 1:02d}" for at, group in enumerate(groups) for p in group},
        test=test,
        unlabelled=tuple(p for p in outside if not heard.intersection(samples[p])),
    )


def _splittable(
    families: Mapping[int, str], samples: Mapping[int, Collection[str]]
) -> dict[int, str]:
    """Return the programmes of the families that have at least two groups."""
    groups = sharing_groups({programme: samples[programme] for programme in families})
    count: dict[str, int] = {}
    for group in groups:
        for family in {families[programme] for programme in group}:
            count[family] = count.get(family, 0) + 1
    return {programme: family for programme, family in families.items() if count[family] >= 2}


def choose_test_groups(
    groups: Sequence[Sequence[int]],
    families: Mapping[int, str],
    *,
    test_fraction: float,
    seed: int,
    restarts: int = 24,
) -> list[int]:
    """Choose whole groups for test, near the same share of every family.

    Descent over single exchanges from seeded random starts, on the squared distance of each
    family's share and of the overall share from ``test_fraction``.

    Args:
        groups: Groups of programmes.
        families: Programme -> family.
        test_fraction: Share of programmes that the test groups aim at.
        seed: Chooses among equally good choices.
        restarts: Number of random starts.

    Returns:
        Indices into ``groups``; every family has programmes inside and outside of them.

    Raises:
        ValueError: No such choice was found.
    """
    names = sorted({families[programme] for group in groups for programme in group})
    share = np.zeros((len(groups), len(names)))
    for at, group in enumerate(groups):
        for programme in group:
            share[at, names.index(families[programme])] += 1
    share /= share.sum(axis=0)
    generator = numpy_generator(seed, "demo", "test groups")
    starts = generator.random((restarts, len(groups))) < test_fraction
    results = [_descend(start, share, test_fraction) for start in starts]
    cost, best = min(results, key=lambda result: result[0])
    if cost >= _IMPOSSIBLE:
        raise UserError(
            f"found no groups that leave each of the families {', '.join(names)} with programmes "
            "in training and in test; leave a family out of the table of families"
        )
    return np.flatnonzero(best).tolist()


def _descend(chosen: np.ndarray, share: np.ndarray, target: float) -> tuple[float, np.ndarray]:
    """Exchange single groups while that lowers the cost; return the cost and the choice."""
    cost = _cost(chosen, share, target)
    while True:
        neighbours = chosen ^ np.eye(len(chosen), dtype=bool)
        costs = [_cost(neighbour, share, target) for neighbour in neighbours]
        best = int(np.argmin(costs))
        if costs[best] >= cost - 1e-12:
            return round(cost, 9), chosen
        cost, chosen = costs[best], neighbours[best]


def _cost(chosen: np.ndarray, share: np.ndarray, target: float) -> float:
    inside = chosen @ share  # (families,)
    one_sided = ((inside < 1e-9) | (inside > 1 - 1e-9)).sum()
    spread = ((inside - target) ** 2).sum()
    overall = _OVERALL * len(inside) * (inside.mean() - target) ** 2
    return float(spread + overall + _IMPOSSIBLE * one_sided)
