"""How large corpora made on the spot are: names, defaults and rules; nothing heavy is imported."""

from dataclasses import dataclass
from typing import Annotated

from ..core.errors import check_fields


@dataclass(frozen=True)
class DemoSettings:
    """How large corpora made on the spot are; the seed decides the rest.

    Attributes:
        n_sessions: Recording sessions of each of the twelve instruments, of five clips.
        n_notes: Single notes, about; the task ``instrument_family``.
        n_mixtures: Clips of the multi-label demo, about.
        n_sounds: Random sounds, to pre-train on.
        seconds: Length of a clip; a mixture has twice that, a random sound its own.
        seed: Of everything random.

    Raises:
        UserError: A value is out of its range.
    """

    n_sessions: Annotated[int, "at least 4"] = 25
    n_notes: Annotated[int, "in [40, 3000]"] = 2000
    n_mixtures: Annotated[int, "at least 20"] = 2000
    n_sounds: Annotated[int, "in [1, 1000000]"] = 4000
    seconds: Annotated[float, "at least 0.1"] = 1.5
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
