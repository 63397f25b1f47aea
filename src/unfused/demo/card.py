"""The data card that stands beside the demo corpus."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from unfused.demo.casting import Casting
from unfused.demo.plan import DemoSettings

_SPLITS = ("train", "valid", "test")


def data_card(
    table: pd.DataFrame,
    settings: DemoSettings,
    casting: Casting,
    silent: Collection[tuple[int, int]],
) -> str:
    """Return the card as Markdown: source, licence, counts, how the split is made, limits."""
    groups = sorted(set(casting.groups.values()))
    tested = sorted({casting.groups[programme] for programme in casting.test})
    sections = (
        "# Demo corpus: single notes of General MIDI instruments",
        f"{len(table):,} clips of {settings.seconds:g} s, mono, 16 bit FLAC; each (programme, "
        f"pitch) pair occurs once, at MIDI pitches {settings.lowest} to {settings.highest} for "
        "all programmes. Velocities are drawn at random and make no further examples.",
        "## Source and licence\n\n"
        "Rendered on this machine by `midirenderer` from TimGM6mb, a General MIDI SoundFont of "
        "sampled instruments by Tim Brechbill under the GNU General Public License, version 2, "
        "read from the installed `pretty_midi` package. Mind that licence before passing the "
        "audio on. The families are NSynth's (Engel et al. 2017, arXiv:1704.01279); which "
        "programme belongs to which is this project's table, `tasks/instrument_families.csv`.",
        f"## Counts\n\n{counts_table(table)}",
        "## Split\n\n"
        f"The {len(casting.families)} programmes of the task share sampled recordings. By the "
        f"SoundFont's own tables they fall into {len(groups)} groups that share none with each "
        f"other; whole groups go to test ({', '.join(tested)}), so that no recording is heard in "
        "training and in test. Every family has a group on either side. `valid` holds every "
        "seventh pitch of the training groups, the same pitches over all of them. It shares "
        "recordings with training, so family scores are higher there than on test; and its "
        "pitches are in no training clip, so pitch-class scores are lower there than on test. "
        f"Everything random follows from seed {settings.seed}.",
        f"## Left out\n\n{_left_out(casting, silent)}",
        "## Limits\n\n"
        "- One SoundFont without velocity layers: a velocity changes loudness, not the recording.\n"
        "- Few groups a family: test scores say how a model does on these instruments, and vary "
        "more over the choice of test groups than a clip-wise interval shows; bootstrap over "
        "`group`, and try other seeds.\n"
        "- Some groups hold several families (a synthesiser wave serves bass, brass and lead), "
        "which differ then only in filter and envelope.\n"
        "- Notes far from where an instrument plays are transposed samples, as in NSynth.\n"
        "- The recordings are small and looped; results here are no evidence about real "
        "instruments.",
    )
    return "\n\n".join(sections) + "\n"


def counts_table(table: pd.DataFrame) -> str:
    """Return the clips per family and split as a Markdown table."""
    names = table["label"].where(table["label"] != "", "(unlabelled)")
    counts = pd.crosstab(names, table["split"]).reindex(columns=list(_SPLITS), fill_value=0)
    lines = ["| family | train | valid | test |", "|---|---:|---:|---:|"]
    for family, row in counts.iterrows():
        lines.append(f"| {family} | " + " | ".join(str(row[split]) for split in _SPLITS) + " |")
    totals = " | ".join(str(counts[split].sum()) for split in _SPLITS)
    return "\n".join([*lines, f"| all | {totals} |"])


def _left_out(casting: Casting, silent: Collection[tuple[int, int]]) -> str:
    families = ", ".join(casting.left_out) or "none"
    notes = ", ".join(f"{programme}/{pitch}" for programme, pitch in sorted(silent)) or "none"
    return (
        f"Families with fewer than two groups: {families}. Programmes of such families that share "
        f"no recording with a test group: {len(casting.unlabelled)}, kept without a label. "
        "Programmes without a family (timpani, orchestra hit, pads, effects, drums and noises, "
        f"and folk instruments): not rendered. Silent notes (programme/pitch): {notes}."
    )
