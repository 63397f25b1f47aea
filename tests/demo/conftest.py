"""SoundFonts small enough to work out by hand, and a small demo corpus."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest


def riff_chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def build_soundfont(
    samples: list[tuple[int, int, int, int]],
    instruments: list[list[int]],
    presets: list[tuple[int, int, list[int]]],
) -> bytes:
    """Return a SoundFont.

    samples: (start, end, link, type); instruments: sample numbers; presets: (bank, programme,
    instrument numbers). Every instrument and preset begins with a global zone (no target).
    """

    def zones(lists: list[list[int]], operator: int) -> tuple[list[int], bytes, bytes]:
        first, bags, generators = [], [], []
        for targets in lists:
            first.append(len(bags))
            bags.append(len(generators))
            generators.append((48, 10))  # the global zone: an attenuation
            for target in targets:
                bags.append(len(generators))
                generators += [(43, 0x7F00), (operator, target)]  # a key range, then the target
        first.append(len(bags))
        bags.append(len(generators))
        generators.append((0, 0))
        return (
            first,
            b"".join(struct.pack("<HH", bag, 0) for bag in bags),
            b"".join(struct.pack("<HH", *generator) for generator in generators),
        )

    preset_first, pbag, pgen = zones([targets for _, _, targets in presets], 41)
    instrument_first, ibag, igen = zones(instruments, 53)
    keys = [(programme, bank) for bank, programme, _ in presets] + [(0, 0)]
    phdr = b"".join(
        struct.pack("<20sHHHIII", b"preset", programme, bank, first, 0, 0, 0)
        for (programme, bank), first in zip(keys, preset_first, strict=True)
    )
    inst = b"".join(struct.pack("<20sH", b"instrument", first) for first in instrument_first)
    shdr = b"".join(
        struct.pack("<20sIIIIIBbHH", b"sample", start, end, start, end, 44100, 60, 0, link, kind)
        for start, end, link, kind in [*samples, (0, 0, 0, 0)]
    )
    tables = {
        b"phdr": phdr,
        b"pbag": pbag,
        b"pgen": pgen,
        b"inst": inst,
        b"ibag": ibag,
        b"igen": igen,
        b"shdr": shdr,
    }
    body = (
        b"sfbk"
        + riff_chunk(b"LIST", b"INFO" + riff_chunk(b"INAM", b"tiny\0"))
        + riff_chunk(b"LIST", b"sdta" + riff_chunk(b"smpl", bytes(2000)))
        + riff_chunk(
            b"LIST", b"pdta" + b"".join(riff_chunk(name, table) for name, table in tables.items())
        )
    )
    return riff_chunk(b"RIFF", body)


@pytest.fixture(scope="session")
def make_soundfont(tmp_path_factory) -> Callable[..., Path]:
    def make(*arguments) -> Path:
        path = tmp_path_factory.mktemp("soundfont") / "tiny.sf2"
        path.write_bytes(build_soundfont(*arguments))
        return path

    return make
