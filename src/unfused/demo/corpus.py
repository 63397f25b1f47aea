"""Corpora that come with pip: instruments of a General MIDI SoundFont, rendered on this machine.

First which notes they consist of, in which clips, in which part; then how they are rendered.
"""

import inspect
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from ..core.errors import UserError
from ..core.outputs import OutputFolder
from ..core.seeding import derive_seed, numpy_generator
from ..core.source import source_digest
from .rendering import SOUNDFONT_DIGEST, Note, Recording, Take, find_soundfont, render_takes
from .settings import DemoSettings

INSTRUMENTS = Path(__file__).with_name("instruments.csv")
"""Families of the programmes, and which share recordings; see its script in ``benchmarks``."""
_PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
Plan = tuple[pd.DataFrame, list[Take]]  # the table labels.csv, one row a clip; what is played
_CLIPS = 5  # of a session
_OCTAVE = 12  # semitones; a session keeps to one
_CARD = """# Demo corpus: {name}

This folder holds {what}

```text
{counts}
```

Rendered on this machine by `midirenderer` from TimGM6mb, a General MIDI SoundFont of sampled
instruments by Tim Brechbill under the GNU General Public License, version 2, read from the
installed `pretty_midi` package. Mind that licence before passing the audio on. The recordings are
small and looped, and without velocity layers: results here are no evidence about real instruments.
"""


class Player(NamedTuple):
    """A programme, the range that people play on it, and whether they play chords."""

    programme: int
    lowest: int
    highest: int
    chords: bool = False


PLAYERS = {
    "accordion": Player(21, 53, 89, True),
    "cello": Player(42, 36, 72),
    "clarinet": Player(71, 50, 89),
    "flute": Player(73, 60, 93),
    "guitar": Player(24, 40, 76, True),
    "harp": Player(46, 36, 91, True),
    "oboe": Player(68, 58, 91),
    "piano": Player(0, 33, 96, True),
    "saxophone": Player(65, 49, 80),
    "trumpet": Player(56, 55, 82),
    "vibraphone": Player(11, 53, 89, True),
    "violin": Player(40, 55, 93),
}
"""The classes of the task ``instrument``.

No two share a recording of the SoundFont, and none shares one with a test note of
:func:`plan_notes`: an encoder pre-trained on both corpora has never heard those instruments.
"""


def plan_sessions(settings: DemoSettings) -> Plan:
    """Return short recordings of twelve instruments, five from each of many sessions.

    A session is one player in one room: register, loudness, tuning, reverberation, microphone and
    background noise are drawn at random. Whole sessions train, validate or test, so the question is
    which instrument plays in a recording made elsewhere.
    """
    rows, takes = [], []
    for label, player in PLAYERS.items():
        for number in range(settings.n_sessions):
            share = (number + 0.5) / settings.n_sessions
            split = "train" if share < 0.6 else "valid" if share < 0.76 else "test"
            group = f"{label}-{number:03d}"
            paths = tuple(f"{label}/{group}-{clip}.flac" for clip in range(_CLIPS))
            takes.append(_session(player, group, paths, settings))
            rows += [(path, label, split, group) for path in paths]
    return pd.DataFrame(rows, columns=["path", "label", "split", "group"]), takes


def _session(player: Player, group: str, paths: tuple[str, ...], settings: DemoSettings) -> Take:
    draw = numpy_generator(settings.seed, "demo", "session", group)
    recording = Recording(
        reverb=int(draw.integers(128)),
        cents=draw.uniform(-40, 40),
        gains=tuple(draw.normal(0, 2, size=8)),
        snr=draw.uniform(15, 35),
        slope=draw.uniform(0, 1),
        peak=draw.uniform(-15, -1),
        seed=derive_seed(settings.seed, "demo", "noise", group),
    )
    register, loudness = draw.integers([player.lowest, 45], [player.highest - _OCTAVE + 1, 110])
    notes = []
    for clip in range(_CLIPS):
        n_beats = int(draw.choice([1, 2, 4, 6]))
        beat = 0.9 * settings.seconds / n_beats
        held = beat * draw.uniform(0.4, 1.0)
        chord = (0, int(draw.integers(3, 6)), 7) if player.chords and draw.random() < 0.4 else (0,)
        for place in range(n_beats):
            start = clip * settings.seconds + place * beat
            root = int(register + draw.integers(_OCTAVE + 1))
            velocity = int(loudness + draw.integers(-12, 13))
            for pitch in sorted({min(root + up, player.highest) for up in chord}):
                notes.append(Note(player.programme, pitch, velocity, start, start + held))
    return Take(tuple(notes), paths, recording)


def plan_notes(settings: DemoSettings) -> Plan:
    """Return single notes of families of instruments, in the manner of NSynth.

    NSynth: Engel et al. 2017, arXiv:1704.01279. Instruments that share a recording of the SoundFont
    are a group, and whole groups train, validate or test, so the question is to which family an
    instrument belongs that was never heard. Families with fewer than three groups are left out
    (voices). No pitch of a programme occurs twice.

    Raises:
        UserError: There are not as many notes.
    """
    grid = pd.read_csv(INSTRUMENTS).dropna(subset=["part"])
    draw = numpy_generator(settings.seed, "demo", "notes")
    grid = grid.merge(pd.DataFrame({"pitch": range(128)}), how="cross")
    grid = grid[grid["pitch"].between(grid["lowest"], grid["highest"])]
    grid = grid.iloc[draw.permutation(len(grid))]
    counts = grid["family"].value_counts()
    each, most = settings.n_notes // len(counts), counts.min()
    if not 0 < each <= most:
        raise UserError(f"n_notes={settings.n_notes} must be {len(counts)} to {most * len(counts)}")
    grid["turn"] = grid.groupby("programme").cumcount()
    notes = grid.sort_values("turn", kind="stable").groupby("family").head(each)
    notes = notes.sort_values(["programme", "pitch"], ignore_index=True)
    notes = notes.rename(columns={"family": "label", "part": "split"}).assign(
        path=[f"{note.programme:03d}-{note.pitch:03d}.flac" for note in notes.itertuples()],
        pitch_class=[_PITCH_CLASSES[pitch % 12] for pitch in notes["pitch"]],
        velocity=draw.integers(64, 113, size=len(notes)),
    )
    takes = [
        Take((Note(n.programme, n.pitch, n.velocity, 0.0, 0.75 * settings.seconds),), (n.path,))
        for n in notes.itertuples()
    ]
    return notes[["path", "label", "pitch_class", "split", "group"]], takes


def plan_mixtures(settings: DemoSettings) -> Plan:
    """Return clips of one to three families of instruments, which are the labels.

    The notes are those of :func:`plan_notes`, and a clip takes them from one part, so that what is
    kept out of training there stays out of it here.

    Raises:
        UserError: There are not as many notes.
    """
    notes, single = plan_notes(settings)
    draw = numpy_generator(settings.seed, "demo", "mixtures")
    rows, takes = [], []
    for split, part in notes.groupby("split"):
        families = {str(name): rows.index for name, rows in part.groupby("label")}
        for number in range(round(settings.n_mixtures * len(part) / len(notes))):
            size = draw.integers(1, 4)
            labels = sorted(draw.choice(list(families), size, replace=False))
            played = []
            for label in labels:
                note = single[draw.choice(families[label])].notes[0]
                start = draw.uniform(0, 1) * settings.seconds
                velocity = int(draw.integers(40, 113))
                end = start + note.end
                played.append(note._replace(start=start, end=end, velocity=velocity))
            path = f"{split}-{number:05d}.flac"
            takes.append(Take(tuple(played), (path,)))
            rows.append((path, ",".join(labels), split))
    return pd.DataFrame(rows, columns=["path", "label", "split"]), takes


PLANS = {"instrument": plan_sessions, "notes": plan_notes, "mixtures": plan_mixtures}


def render_demo(
    folder: str | Path,
    name: str = "instrument",
    settings: DemoSettings | None = None,
    *,
    n_jobs: int = -1,
) -> Path:
    """Render one of the demo's corpora, or what is missing of it, and return its own folder.

    It is ``instrument`` (:func:`.plan_sessions`), ``notes`` (:func:`.plan_notes`) or ``mixtures``
    (:func:`.plan_mixtures`): FLAC files (16 kHz, mono, 16 bit), ``labels.csv`` (columns path,
    label, split and group) and a data card, ``README.md``, in a folder below the given one.

    Raises:
        UserError: The renderer or its SoundFont is not installed, or there are not enough notes.
        OSError: ``folder`` cannot be written.
    """
    settings = settings or DemoSettings()
    find_soundfont()  # or say what to install
    table, takes = PLANS[name](settings)
    seconds = settings.seconds * (2 if name == "mixtures" else 1)

    def build(path: Path) -> None:
        render_takes(path / name, takes, seconds, n_jobs)
        table.to_csv(path / name / "labels.csv", index=False)
        what = (inspect.getdoc(PLANS[name]) or "").removeprefix("Return ").split("\n\nRaises")[0]
        counts = pd.crosstab(table["label"], table["split"], margins=True).to_string()
        card = _CARD.format(name=name, what=what, counts=counts)
        (path / name / "README.md").write_text(card, encoding="utf-8")

    made_of = {"table": table, "takes": takes, "seconds": seconds, "soundfont": SOUNDFONT_DIGEST}
    made_of["renderer"] = metadata.version("midirenderer")
    made_of["source"] = source_digest("demo.rendering")
    return OutputFolder(Path(folder)).built(name, made_of, build) / name
