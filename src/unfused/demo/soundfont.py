"""Which programmes of a SoundFont sound the same recordings.

Two programmes that play one recording are not independent examples: a classifier that has heard the
recording in training recognises it in test. So a corpus rendered from a SoundFont is split by the
connected components of programmes that share samples, read here from the file itself.

The layout is that of the SoundFont Technical Specification 2.04 (E-mu Systems, 2006), chapters 4
and 7: a preset has zones (preset bags), a zone names an instrument (generator 41), an instrument
has zones, and a zone names a sample (generator 53).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..core.errors import UserError

MELODIC_BANK = 0
_INSTRUMENT, _SAMPLE = 41, 53  # generator operators, section 8.1.2
_LINKED_TYPES = (2, 4, 8)  # right, left and linked samples, section 7.10
_ROM = 0x8000

_PRESET = np.dtype(
    [
        ("name", "S20"),
        ("programme", "<u2"),
        ("bank", "<u2"),
        ("bag", "<u2"),
        ("library", "<u4"),
        ("genre", "<u4"),
        ("morphology", "<u4"),
    ]
)
_INSTRUMENT_HEADER = np.dtype([("name", "S20"), ("bag", "<u2")])
_BAG = np.dtype([("generator", "<u2"), ("modulator", "<u2")])
_GENERATOR = np.dtype([("operator", "<u2"), ("amount", "<u2")])
_SAMPLE_HEADER = np.dtype(
    [
        ("name", "S20"),
        ("start", "<u4"),
        ("end", "<u4"),
        ("loop_start", "<u4"),
        ("loop_end", "<u4"),
        ("rate", "<u4"),
        ("pitch", "u1"),
        ("correction", "i1"),
        ("link", "<u2"),
        ("type", "<u2"),
    ]
)
_TABLES = {
    "phdr": _PRESET,
    "pbag": _BAG,
    "pgen": _GENERATOR,
    "inst": _INSTRUMENT_HEADER,
    "ibag": _BAG,
    "igen": _GENERATOR,
    "shdr": _SAMPLE_HEADER,
}


class SoundFontError(UserError):
    """The file is no SoundFont 2, or it is damaged."""


@dataclass(frozen=True)
class SoundFont:
    """The programmes of a SoundFont and the recordings they sound.

    Attributes:
        name: The name that the file gives itself.
        n_samples: Number of sample headers.
        samples: (bank, programme) -> ids of the recordings. Headers that share sound data (equal or
            overlapping ranges, or the two channels of a stereo pair) have one id, ``s`` and the
            lowest header's number, so equal ids mean shared sound.
    """

    name: str
    n_samples: int
    samples: Mapping[tuple[int, int], frozenset[str]]

    def programmes(self, bank: int = MELODIC_BANK) -> dict[int, frozenset[str]]:
        """Return programme -> ids of its recordings, for one bank (0 = melodic, 128 = drums)."""
        return {
            programme: ids for (of, programme), ids in sorted(self.samples.items()) if of == bank
        }


def read_soundfont(path: str | Path) -> SoundFont:
    """Read from a SoundFont 2 file which recordings each programme sounds.

    Args:
        path: A ``.sf2`` file.

    Raises:
        SoundFontError: The file is not a SoundFont 2, is cut short or refers to what is not there.
        OSError: The file cannot be read.
    """
    path = Path(path)
    chunks = dict(_chunks(path.read_bytes(), path))
    tables = {name: _table(chunks, name, path) for name in _TABLES}
    try:
        instruments = _samples_of_instruments(tables)
        samples = _samples_of_presets(tables, instruments)
    except IndexError as error:
        raise SoundFontError(
            f"{path} refers to a bag, instrument or sample that it does not hold ({error}); "
            "install it again"
        ) from error
    name = chunks.get("INAM", b"").split(b"\0")[0].decode("latin-1") or path.stem
    return SoundFont(name, len(tables["shdr"]) - 1, samples)


def sharing_groups(samples: Mapping[int, Collection[str]]) -> list[list[int]]:
    """Return the connected components of programmes that share recordings.

    Args:
        samples: Programme -> ids of its recordings.

    Returns:
        Lists of programmes, each ascending, ordered by their lowest programme.

    >>> sharing_groups({0: {"a"}, 1: {"b"}, 2: {"c", "a"}})
    [[0, 2], [1]]
    """
    programmes = sorted(samples)
    ids = sorted({sample for programme in programmes for sample in samples[programme]})
    column = {sample: len(programmes) + at for at, sample in enumerate(ids)}
    edges = [(row, column[sample]) for row, key in enumerate(programmes) for sample in samples[key]]
    component = _components(edges, len(programmes) + len(ids))[: len(programmes)]
    groups: dict[int, list[int]] = {}
    for programme, number in zip(programmes, component.tolist(), strict=True):
        groups.setdefault(number, []).append(programme)
    return list(groups.values())


def _components(edges: Collection[tuple[int, int]], n: int) -> np.ndarray:
    """Return the number of the connected component of each of ``n`` nodes."""
    ends = np.asarray(list(edges), dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1])


def _chunks(content: bytes, path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every chunk, lists opened."""
    if content[:4] != b"RIFF" or content[8:12] != b"sfbk":
        raise SoundFontError(f"{path} is not a SoundFont 2 file: it does not begin with RIFF/sfbk")
    at = 12
    while at + 8 <= len(content):
        name, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        if at + 8 + size > len(content):
            raise SoundFontError(
                f"{path} is cut short: its chunk {name.decode('latin-1')!r} announces {size} "
                f"bytes and has {len(content) - at - 8}; install it again"
            )
        if name == b"LIST":
            at += 12
            continue
        yield name.decode("latin-1"), content[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _table(chunks: Mapping[str, bytes], name: str, path: Path) -> np.ndarray:
    """Return one table of the file as a structured array, its closing record included."""
    if name not in chunks:
        raise SoundFontError(f"{path} has no chunk {name!r}, which every SoundFont 2 has")
    record = _TABLES[name]
    if not chunks[name] or len(chunks[name]) % record.itemsize:
        raise SoundFontError(
            f"{path}: chunk {name!r} has {len(chunks[name])} bytes, which is no positive multiple "
            f"of {record.itemsize}"
        )
    return np.frombuffer(chunks[name], dtype=record)


def _targets(
    bags: np.ndarray, generators: np.ndarray, first: int, end: int, operator: int
) -> list[int]:
    """Return what the zones ``first`` to ``end`` name with ``operator`` (global zones: nothing)."""
    if not 0 <= first <= end < len(bags):
        raise IndexError(f"bags {first} to {end} of {len(bags)}")
    inside = generators[bags["generator"][first] : bags["generator"][end]]
    return inside["amount"][inside["operator"] == operator].tolist()


def _samples_of_instruments(tables: Mapping[str, np.ndarray]) -> list[frozenset[str]]:
    """Return for every instrument the ids of the recordings it sounds."""
    recording = _recordings(tables["shdr"])
    bags = tables["inst"]["bag"].tolist()
    return [
        frozenset(
            f"s{recording[header]}"
            for header in _targets(tables["ibag"], tables["igen"], first, end, _SAMPLE)
        )
        for first, end in pairwise(bags)
    ]


def _samples_of_presets(
    tables: Mapping[str, np.ndarray], instruments: list[frozenset[str]]
) -> dict[tuple[int, int], frozenset[str]]:
    """Return (bank, programme) -> ids of the recordings it sounds."""
    presets = tables["phdr"]
    samples: dict[tuple[int, int], frozenset[str]] = {}
    for preset, following in pairwise(presets):
        key = int(preset["bank"]), int(preset["programme"])
        named = _targets(
            tables["pbag"], tables["pgen"], preset["bag"], following["bag"], _INSTRUMENT
        )
        samples[key] = samples.get(key, frozenset()).union(*(instruments[at] for at in named))
    return samples


def _recordings(headers: np.ndarray) -> np.ndarray:
    """Return for every sample header the lowest header that shares its sound data."""
    headers = headers[:-1]
    start, end = headers["start"].astype(np.int64), headers["end"].astype(np.int64)
    rom = (headers["type"] & _ROM) > 0  # another address space: these samples are not in the file
    edges = _overlaps(np.where(rom, start + (1 << 40), start), np.where(rom, end + (1 << 40), end))
    linked = np.isin(headers["type"] % _ROM, _LINKED_TYPES) & (headers["link"] < len(headers))
    edges += [(int(at), int(headers["link"][at])) for at in np.flatnonzero(linked)]
    component = _components(edges, len(headers))
    _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
    return first[inverse]


def _overlaps(start: np.ndarray, end: np.ndarray) -> list[tuple[int, int]]:
    """Return pairs of ranges [start, end) that chain together all that overlap."""
    edges: list[tuple[int, int]] = []
    reach, owner = -1, -1
    for at in np.lexsort((end, start)).tolist():
        if start[at] < reach:
            edges.append((owner, at))
        if end[at] > reach:
            reach, owner = int(end[at]), at
    return edges
