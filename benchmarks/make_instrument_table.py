"""Make the columns group, part, lowest and highest of ``src/unfused/demo/instruments.csv``.

    python benchmarks/make_instrument_table.py

Programme, name and family are kept by hand. Two programmes that play one recording are not
independent examples: programmes are grouped by the recordings of the SoundFont that they share, and
whole groups train, validate or test. To be run again only for another SoundFont.

The layout of the file is that of the SoundFont Technical Specification 2.04 (E-mu Systems, 2006),
chapters 4 and 7: a preset has zones (bags), a zone names an instrument (generator 41), an
instrument has zones, and a zone names a sample (generator 53).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import networkx
import numpy as np
import pandas as pd

from unfused.demo.corpus import INSTRUMENTS, PLAYERS
from unfused.demo.rendering import Note, Take, find_soundfont, play

SHARES = {"train": 0.55, "valid": 0.15, "test": 0.3}
PITCHES = range(36, 85)  # the same for all, so that the register does not give the family away
SOFTEST, SILENCE = 64, 1e-4  # MIDI velocity; RMS, -80 dB of full scale
_U2, _U4 = "<u2", "<u4"
RECORDS = {  # the fields that count, each with type and place, and the bytes of a record
    "phdr": ({"programme": (_U2, 20), "bank": (_U2, 22), "bag": (_U2, 24)}, 38),
    "pbag": ({"generator": (_U2, 0)}, 4),
    "pgen": ({"operator": (_U2, 0), "amount": (_U2, 2)}, 4),
    "inst": ({"bag": (_U2, 20)}, 22),
    "ibag": ({"generator": (_U2, 0)}, 4),
    "igen": ({"operator": (_U2, 0), "amount": (_U2, 2)}, 4),
    "shdr": (
        {"start": (_U4, 20), "end": (_U4, 24), "link": (_U2, 42), "type": (_U2, 44)},
        46,
    ),
}


def read_tables(content: bytes) -> dict[str, np.ndarray]:
    """Return the tables of a SoundFont, closing records included."""
    tables, at = {}, 12
    while at + 8 <= len(content):
        name = content[at : at + 4].decode("latin-1")
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        if name == "LIST":
            at += 12
            continue
        if name in RECORDS:
            fields, itemsize = RECORDS[name]
            types, places = zip(*fields.values(), strict=True)
            record = np.dtype(
                {"names": [*fields], "formats": types, "offsets": places, "itemsize": itemsize}
            )
            tables[name] = np.frombuffer(content[at + 8 : at + 8 + size], record)
        at += 8 + size + size % 2
    return tables


def named(
    tables: dict[str, np.ndarray], kind: str, first: int, end: int, operator: int
) -> list[int]:
    """Return what the zones ``first`` to ``end`` of presets (p) or instruments (i) name."""
    generators = tables[f"{kind}gen"]
    bags = tables[f"{kind}bag"]["generator"]
    inside = generators[bags[first] : bags[end]]
    return inside["amount"][inside["operator"] == operator].tolist()


def sharing_groups(content: bytes, programmes: set[int]) -> list[list[int]]:
    """Return the programmes of bank 0 by the recordings that they share, in order."""
    tables, graph = read_tables(content), networkx.Graph()
    graph.add_edges_from(same_sound(tables["shdr"][:-1]))
    zones = list(pairwise(tables["inst"]["bag"].tolist()))
    for preset, following in pairwise(tables["phdr"]):
        if preset["bank"] or preset["programme"] not in programmes:
            continue
        programme = f"programme {preset['programme']}"
        for instrument in named(tables, "p", preset["bag"], following["bag"], 41):
            for sample in named(tables, "i", *zones[instrument], 53):
                graph.add_edge(programme, sample)
    groups = [
        sorted(int(node.split()[1]) for node in component if isinstance(node, str))
        for component in networkx.connected_components(graph)
    ]
    return sorted(group for group in groups if group)


def same_sound(headers: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield pairs of samples that are one recording: overlapping ranges, channels of a pair."""
    reach, owner = -1, -1
    for at in np.lexsort((headers["end"], headers["start"])).tolist():
        if headers["start"][at] < reach:
            yield owner, at
        if headers["end"][at] > reach:
            reach, owner = int(headers["end"][at]), at
    for at in np.flatnonzero(np.isin(headers["type"], (2, 4, 8))).tolist():  # right, left, linked
        yield at, int(headers["link"][at])


def part_of_groups(table: pd.DataFrame, restarts: int = 100) -> dict[str, str]:
    """Share the groups out so that every family is near the same shares of each part.

    Descent over single moves from random starts. Groups of the task ``instrument`` do not test.

    Args:
        table: Columns programme, group and family.
        restarts: Number of random starts.

    Returns:
        Group -> part.
    """
    counts = pd.crosstab(table["group"], table["family"], normalize="columns").to_numpy()
    names, target = sorted(table["group"].unique()), np.array(list(SHARES.values()))
    generator = np.random.default_rng(0)
    players = {player.programme for player in PLAYERS.values()}
    heard = set(table.loc[table["programme"].isin(players), "group"])
    choices = [range(2 if name in heard else len(SHARES)) for name in names]

    def cost(parts: np.ndarray) -> float:
        shares = np.stack([counts[parts == part].sum(axis=0) for part in range(len(SHARES))])
        return float(((shares - target[:, None]) ** 2).sum() + 100 * (shares == 0).sum())

    best, found = np.inf, np.zeros(len(names), int)
    for _ in range(restarts):
        parts = np.array([generator.choice(choice) for choice in choices])
        now = cost(parts)
        while True:
            tried = []
            for at, part in ((at, part) for at, choice in enumerate(choices) for part in choice):
                moved = parts.copy()
                moved[at] = part
                tried.append((cost(moved), at, part))
            lowest, at, part = min(tried)
            if lowest >= now - 1e-12:
                break
            now, parts[at] = lowest, part
        if now < best - 1e-12:
            best, found = now, parts.copy()
    if best >= 100:
        raise SystemExit("no choice of groups leaves every family with programmes in every part")
    return {name: list(SHARES)[part] for name, part in zip(names, found, strict=True)}


def sounding(programme: int, seconds: float = 0.5) -> tuple[int, int]:
    """Return the lowest and the highest of the pitches without a silent one between."""
    notes = tuple(
        Note(programme, pitch, SOFTEST, at * 2 * seconds, (at * 2 + 1) * seconds)
        for at, pitch in enumerate(PITCHES)
    )
    audio = play(Take(notes, ()), len(PITCHES) * 2 * seconds)
    loud = np.sqrt((audio.reshape(len(PITCHES), -1) ** 2).mean(axis=1)) >= SILENCE
    heard = np.array(PITCHES)[loud]
    if len(heard) != heard[-1] - heard[0] + 1:
        raise SystemExit(f"programme {programme} sounds at {heard.tolist()} only")
    return int(heard[0]), int(heard[-1])


def main() -> None:
    """Write the table anew."""
    table = pd.read_csv(INSTRUMENTS)[["programme", "name", "family"]]
    groups = sharing_groups(find_soundfont(), set(table["programme"]))
    group = {p: f"group-{at + 1:02d}" for at, members in enumerate(groups) for p in members}
    table["group"] = table["programme"].map(group)
    enough = table.groupby("family")["group"].transform("nunique") >= len(SHARES)
    part = part_of_groups(table[enough])
    table["part"] = table["group"].map(part).where(enough)
    ranges = [sounding(programme) for programme in table["programme"]]
    table["lowest"], table["highest"] = zip(*ranges, strict=True)
    table.to_csv(INSTRUMENTS, index=False)
    print(pd.crosstab(table["family"], table["part"].fillna("none")))


if __name__ == "__main__":
    main()
