"""Which notes the demo corpus has: programme, pitch, velocity and split of each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from unfused.core.seeding import numpy_generator
from unfused.demo.casting import Casting

from ..core.errors import UserError

PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
COLUMNS = (
    "path",
    "label",
    "pitch",
    "pitch_class",
    "programme",
    "velocity",
    "split",
    "group",
    "samples",
)
_FIFTH = 7  # semitones; coprime to 12, so successive held-out pitches differ in pitch class
_FEWEST = 3  # notes of a programme, so that every family has validation clips
_VELOCITIES = (64, 112)


@dataclass(frozen=True)
class DemoSettings:
    """What a demo corpus is made from.

    Attributes:
        n_notes: Number of distinct (programme, pitch) pairs.
        seconds: Length of every clip; the key is released after three quarters of it.
        seed: Decides the test groups, the held-out pitches, the pitches and the velocities.
        lowest, highest: MIDI pitches, both included, the same for all programmes, so that the
            register does not give the family away.
        test_fraction: Share of each family's programmes that the test groups aim at.

    Raises:
        ValueError: A value is out of range.
    """

    n_notes: int = 2000
    seconds: float = 1.5
    seed: int = 0
    lowest: int = 36
    highest: int = 84
    test_fraction: float = 0.275

    def __post_init__(self) -> None:
        if not 0 <= self.lowest <= self.highest - 11 or self.highest > 127:
            raise UserError(
                f"pitches {self.lowest} to {self.highest}: the range must lie within 0 to 127 and "
                "hold at least an octave (12 pitches), so that every pitch class occurs"
            )
        if not 0.1 <= self.seconds <= 60:
            raise UserError(f"seconds={self.seconds}: a note lasts 0.1 to 60 s")
        if not 0 < self.test_fraction < 1:
            raise UserError(f"test_fraction={self.test_fraction} must lie between 0 and 1")


def held_out_pitches(settings: DemoSettings) -> list[int]:
    """Return the pitches of the validation clips: every seventh semitone from a seeded start.

    So they are about 15 % of the pitches, cover the range evenly, and neighbours among them differ
    in pitch class.
    """
    start = int(numpy_generator(settings.seed, "demo", "held-out pitches").integers(_FIFTH))
    return list(range(settings.lowest + start, settings.highest + 1, _FIFTH))


def plan_notes(
    settings: DemoSettings,
    casting: Casting,
    samples: Mapping[int, Collection[str]],
    silent: Collection[tuple[int, int]] = (),
) -> pd.DataFrame:
    """Return the rows of the corpus: the notes shared out evenly over families, then programmes.

    Args:
        settings: What the corpus is made from.
        casting: Which programmes train, test and stay unlabelled.
        samples: Programme -> ids of the recordings it sounds.
        silent: (programme, pitch) pairs that cannot be heard; others take their places.

    Returns:
        A table with :data:`COLUMNS`, by programme and pitch.

    Raises:
        ValueError: ``n_notes`` is more than there is, or less than three for each programme.
    """
    families = {**casting.families, **dict.fromkeys(casting.unlabelled, "")}
    orders = _pitch_orders(families, settings, casting.test, silent)
    available = sum(len(order) for order in orders.values())
    fewest = _FEWEST * len(families)
    if not fewest <= settings.n_notes <= available:
        raise UserError(
            f"n_notes={settings.n_notes}: {len(families)} programmes at pitches {settings.lowest} "
            f"to {settings.highest} give {fewest} to {available} notes; ask for a number between, "
            "or widen the range of pitches"
        )
    members = [
        [p for p in sorted(families) if families[p] == f] for f in sorted(set(families.values()))
    ]
    quotas = even_shares(settings.n_notes, [sum(len(orders[p]) for p in ps) for ps in members])
    held_out = set(held_out_pitches(settings))
    rows = []
    for programmes, quota in zip(members, quotas, strict=True):
        counts = even_shares(quota, [len(orders[p]) for p in programmes])
        for programme, count in zip(programmes, counts, strict=True):
            for pitch in orders[programme][:count]:
                split = "valid" if pitch in held_out else "train"
                rows.append(_row(programme, pitch, settings, casting, samples[programme], split))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.sort_values(["programme", "pitch"], ignore_index=True)


def even_shares(total: int, capacities: Sequence[int]) -> list[int]:
    """Share ``total`` out as evenly as the capacities allow.

    >>> even_shares(10, [2, 9, 9])
    [2, 4, 4]
    """
    shares = [0] * len(capacities)
    order = np.argsort(np.asarray(capacities), kind="stable").tolist()
    for served, at in enumerate(order):
        shares[at] = min(capacities[at], total // (len(order) - served))
        total -= shares[at]
    return shares


def _pitch_orders(
    families: Mapping[int, str],
    settings: DemoSettings,
    test: Collection[int],
    silent: Collection[tuple[int, int]],
) -> dict[int, list[int]]:
    """Return every programme's audible pitches in the order in which it uses them."""
    orders, ranks = {}, dict[tuple[str, bool], int]()
    for programme, family in sorted(families.items()):
        peers = family, programme in test
        rank = ranks[peers] = ranks.get(peers, -1) + 1
        order = _pitch_order(programme, rank, settings)
        orders[programme] = [pitch for pitch in order if (programme, pitch) not in silent]
    return orders


def _pitch_order(programme: int, rank: int, settings: DemoSettings) -> list[int]:
    """Return shuffled pitches, every seventh of them held out.

    Programmes of different rank begin at another place in that cycle, the first one with a held-out
    pitch: so a family has its share of validation clips even with few notes a programme.
    """
    generator = numpy_generator(settings.seed, "demo", "pitches", programme)
    held_out = held_out_pitches(settings)
    others = sorted(set(range(settings.lowest, settings.highest + 1)) - set(held_out))
    waiting = [generator.permutation(pitches).tolist() for pitches in (others, held_out)]
    order: list[int] = []
    while any(waiting):
        due = waiting[(len(order) + 3 * rank) % _FIFTH == 0]
        order.append((due or waiting[0] or waiting[1]).pop())
    return order


def _row(
    programme: int,
    pitch: int,
    settings: DemoSettings,
    casting: Casting,
    samples: Iterable[str],
    split: str,
) -> dict[str, object]:
    velocity = numpy_generator(settings.seed, "demo", "velocity", programme, pitch).integers(
        *_VELOCITIES, endpoint=True
    )
    labelled = programme in casting.families
    return {
        "path": f"audio/programme-{programme:03d}_pitch-{pitch:03d}.flac",
        "label": casting.families.get(programme, ""),
        "pitch": pitch,
        "pitch_class": PITCH_CLASSES[pitch % 12],
        "programme": programme,
        "velocity": int(velocity),
        "split": "test" if programme in casting.test else split if labelled else "train",
        "group": casting.groups.get(programme, ""),
        "samples": " ".join(sorted(samples, key=lambda sample: (len(sample), sample))),
    }
