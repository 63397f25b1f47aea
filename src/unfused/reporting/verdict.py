"""What the comparisons say, in sentences that claim no more than their intervals allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .comparisons import BETTER, SAME, WORSE
from .naming import CONTROLS, UPPER_BOUND, encoder_name, metric_name, percent, protocol_name

_RIVALS: Mapping[str, str] = {
    "random_same_cut": "random init at the same cut",
    "teacher_same_cut": "its teacher at the same cut",
    "teacher_own_cut": "its teacher at full size",
    "full_teacher": "the teacher of the same size",
    "log_mel_statistics": "log-mel statistics",
    "supervised": "supervised training from scratch",
    **{f"control_{name}": f"the control on {words}" for name, words in CONTROLS.items()},
}
_FEW_CLIPS = 100
_OUTCOMES = {BETTER: "better than", SAME: "not distinguishable from", WORSE: "worse than"}


@dataclass(frozen=True)
class Verdict:
    """The result of an experiment in words.

    Attributes:
        headline: One line.
        sections: Task and protocol -> one sentence per comparison, and what they mean together.
        caveats: What the reader must know to judge them.
    """

    headline: str
    sections: Mapping[str, tuple[str, ...]]
    caveats: tuple[str, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """The sentences of all sections."""
        return tuple(sentence for sentences in self.sections.values() for sentence in sentences)

    def __str__(self) -> str:
        lines = [self.headline]
        for where, sentences in self.sections.items():
            lines += [f"{where}:", *(f"  {sentence}" for sentence in sentences)]
        return "\n".join([*lines, *self.caveats])


def verdict(
    summary: pd.DataFrame,
    comparisons: pd.DataFrame,
    *,
    configurations_tried: int | None = None,
) -> Verdict:
    """Put comparisons into words.

    Args:
        summary: Rows of :func:`~unfused.reporting.aggregate.summarise`, for each score's interval.
        comparisons: Rows of :func:`~unfused.reporting.comparisons.student_comparisons`.
        configurations_tried: How many configurations were tried before this one, this included.
    """
    caveats = _caveats(summary, comparisons, configurations_tried)
    if comparisons.empty:
        headline = "No verdict: the student was not evaluated beside an encoder to compare it with."
        return Verdict(headline, {}, caveats)
    sections = {}
    for (task, protocol), rows in comparisons.groupby(["task", "protocol_a"], sort=False):
        sentences = [_sentence(row, summary) for _, row in rows.iterrows()]
        where = f"{task}, {protocol_name(str(protocol)).lower()}"
        sections[where] = (*sentences, *_readings(rows))
    return Verdict(_headline(comparisons), sections, caveats)


def _headline(comparisons: pd.DataFrame) -> str:
    order = ["linear_probe", *comparisons["protocol_a"]]
    first = next(name for name in order if (comparisons["protocol_a"] == name).any())
    main = comparisons[comparisons["protocol_a"] == first]
    asked = [name for name in ("random_same_cut", "teacher_own_cut", "teacher_same_cut")
             if (main["question"] == name).any()][:2]  # fmt: skip
    asked = asked or [str(main["question"].iloc[0])]
    parts = [_standing(main[main["question"] == question]) for question in asked]
    n_tasks = main["task"].nunique()
    where = f"On {main['task'].iloc[0]}" if n_tasks == 1 else f"Over {n_tasks} tasks"
    measured = f"{protocol_name(first).lower()}, {metric_name(main['metric'].iloc[0]).lower()}"
    joined = (" and " if n_tasks == 1 else "; ").join(parts)
    return f"{where} ({measured}, {_size(main)}), the UnFuSeD student is {joined}."


def _size(rows: pd.DataFrame) -> str:
    seeds, clips = int(rows["n_seeds"].min()), int(rows.groupby("task")["n_clips"].max().sum())
    return f"{seeds} seed{'' if seeds == 1 else 's'}, {clips:,} test clips"


def _standing(rows: pd.DataFrame) -> str:
    rival = _RIVALS[str(rows["question"].iloc[0])]
    if len(rows) == 1:
        row = rows.iloc[0]
        gain = percent(row["difference"], signed=True)
        smaller = _smaller(row) if row["question"] == "teacher_own_cut" else ""
        return f"{_OUTCOMES[row['outcome']]} {rival}{smaller} ({gain} points)"
    counts = rows["outcome"].value_counts()
    return ", ".join(
        f"{words} {rival} on {counts[name]} of {len(rows)}"
        for name, words in _OUTCOMES.items()
        if name in counts
    )


def _sentence(row: pd.Series, summary: pd.DataFrame) -> str:
    a, b = (_scored(row, side, summary) for side in "ab")
    gain = f"{percent(row['difference'], signed=True)} points"
    interval = "no interval, one group of test clips"
    if np.isfinite(row["low"]):
        interval = f"95 % interval {_bounds(row['low'], row['high'])}, {row['interval']}"
    if np.isfinite(row["seed_low"]) and np.isfinite(row["clip_low"]):
        interval += f"; over test clips {_bounds(row['clip_low'], row['clip_high'])}"
    return f"{a} vs {b}{_sizes(row)}: {gain} ({interval}): {row['outcome']}."


def _bounds(low: float, high: float) -> str:
    """Return an interval of differences; an end that rounds to zero keeps its sign visible."""
    ends = [percent(value, signed=True) for value in (low, high)]
    values = zip(ends, (low, high), strict=True)
    return " to ".join(f"{100 * value:+.2f}" if text == "0.0" else text for text, value in values)


def _scored(row: pd.Series, side: str, summary: pd.DataFrame) -> str:
    encoder, source, cut = (str(row[f"{name}_{side}"]) for name in ("encoder", "source", "cut"))
    teacher = encoder if row["question"].startswith(("teacher", "full")) and side == "b" else None
    name = encoder_name(encoder, source, teacher=teacher)
    other = row["protocol_b"] != row["protocol_a"] and side == "b"
    place = ", ".join(
        filter(None, [cut, protocol_name(row["protocol_b"]).lower() if other else ""])
    )
    found = summary[
        (summary["task"] == row["task"]) & (summary["metric"] == row["metric"])
        & (summary["encoder"] == encoder) & (summary["source"] == source)
        & (summary["cut"] == cut) & (summary["protocol"] == row[f"protocol_{side}"])
    ]  # fmt: skip
    interval = ""
    if len(found) and np.isfinite(found["low"].iloc[0]):
        interval = f" [{percent(found['low'].iloc[0])}, {percent(found['high'].iloc[0])}]"
    return f"{name}{f' ({place})' if place else ''} {percent(row[f'mean_{side}'])} %{interval}"


def _sizes(row: pd.Series) -> str:
    smaller = _smaller(row)
    return smaller if row["question"] in ("teacher_own_cut", "supervised") else ""


def _smaller(row: pd.Series) -> str:
    a, b = (pd.to_numeric(row[f"parameters_{side}"], errors="coerce") for side in "ab")
    if not (a > 0 and b > 0) or a == b:
        return ""
    if b > a:
        return f", which has {b / a:.3g} times its parameters"
    return f", which has {b / a:.2g} of its parameters"


def _readings(rows: pd.DataFrame) -> list[str]:
    """Say what the comparisons of one task mean together."""
    readings = []
    outcome = dict(zip(rows["question"], rows["outcome"], strict=True))
    ties = [
        words
        for name, words in CONTROLS.items()
        if name != UPPER_BOUND and outcome.get(f"control_{name}", BETTER) != BETTER
    ]
    if outcome.get("random_same_cut") == BETTER and ties:
        readings.append(
            "The gain over random init is not shown to come from what the teacher learnt: students "
            f"on {' and '.join(ties)} are not distinguishably worse."
        )
    if outcome.get("log_mel_statistics", BETTER) != BETTER:
        readings.append(
            "No gain over the mean and deviation of each mel band is shown; a plain classifier on "
            "those statistics is the simpler choice here."
        )
    return readings


def _caveats(
    summary: pd.DataFrame, comparisons: pd.DataFrame, configurations_tried: int | None
) -> tuple[str, ...]:
    caveats = []
    if len(comparisons):
        fewest = int(comparisons["n_seeds"].min())
        if fewest < 3:
            seeds = "one seed" if fewest == 1 else f"{fewest} seeds"
            caveats.append(
                f"With {seeds} the intervals cover the choice of test clips only; another training "
                "run may differ by more. Three seeds or more give an interval over runs."
            )
        clips = int(comparisons["n_clips"].min())
        if clips < _FEW_CLIPS:
            caveats.append(
                f"Some scores are of only {clips} test clips: one clip more right or wrong moves "
                f"them by {100 / clips:.1f} points, and little can be told apart."
            )
        groups = comparisons.loc[comparisons["n_groups"] > 0, "n_groups"]
        if len(groups) and groups.min() < 5:
            caveats.append(
                f"Some test clips come from only {int(groups.min())} groups (speakers, "
                "recordings): so few say little about new ones."
            )
        if len(comparisons) > 4:
            caveats.append(
                f"{len(comparisons)} comparisons were made at 95 % each: about one in twenty of "
                "those without any true difference would still come out as better or worse."
            )
    if len(summary) and "transductive" in summary and summary["transductive"].fillna(False).any():
        caveats.append("Rows marked transductive saw test clips (without labels) in training.")
    if configurations_tried is not None:
        caveats.append(f"Configurations tried, this one included: {configurations_tried}.")
    return tuple(caveats)
