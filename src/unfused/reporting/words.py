"""What was found, in short sentences that claim no more than the numbers do."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from .findings import BETTER, CHOSEN, SAME, WORSE
from .names import counted, short_label

Finding = Mapping[str, Any]
_WEAK = 3  # classes named
_VERDICTS = {
    BETTER: "clearly better than", WORSE: "clearly worse than", SAME: "not clearly different from"
}  # fmt: skip


def percent(value: float | None, *, signed: bool = False) -> str:
    """Return a fraction in per cent with one decimal, without its unit; a dash for none.

    >>> percent(0.612), percent(-0.0004, signed=True)
    ('61.2', '0.0')
    """
    if value is None or pd.isna(value):
        return "\N{EN DASH}"
    rounded = round(100 * value, 1) + 0.0
    return f"{rounded:+.1f}" if signed and rounded else f"{rounded:.1f}"


def first_sentence(finding: Finding) -> str:
    """Say which classifier is used, why, and how good it is."""
    best = finding["best"]
    mean, low, high, balanced, chance = (
        percent(best[name]) for name in ("mean", "low", "high", "balanced", "chance")
    )
    does = f"labels {mean} % of {counted(best['n_test'], 'test clip')} correctly"
    last = f"Always naming the most frequent class: {chance} %."
    if finding["several_labels"]:
        does = f"reaches a mean average precision of {mean} %"
        last = f"Equal scores for all clips would give {chance} %."
    chosen = best["validation"] is not None
    on = "On validation clips," if chosen else "There were no validation clips to choose by;"
    bounds = "" if best["low"] is None else f"95 % interval {low} to {high} %, "
    also = "" if best["balanced"] is None else f", {balanced} % if every class counts the same"
    it = f"It {does} ({bounds}{best['interval']}){also}."
    return f"{on} {best['title']} is {_rank(finding)}. {it} {last}"


def _rank(finding: Finding) -> str:
    """Return what made it the one to use."""
    of = counted(finding["n_classifiers"], "classifier")
    if finding["as_good"]:
        return f"as good as the best of {of}{'' if finding['by_folds'] else ', and smaller'}"
    return f"the {'smallest' if finding['best']['validation'] is None else 'best'} of {of}"


def weak_classes(finding: Finding) -> list[Mapping[str, Any]]:
    """Return the classes that are recognised worst, worse than clips are on average."""
    classes = finding["classes"]
    mean = sum(row["recall"] for row in classes) / len(classes)
    return [row for row in classes if row["recall"] < min(mean, 0.9)][:_WEAK]


def weaknesses(finding: Finding) -> str:
    """Say which classes it fails for."""
    named = [
        f"{short_label(row['label'], 40)} (recognised in {100 * row['recall']:.0f} % of "
        f"{counted(row['n_test'], 'clip')})"
        for row in weak_classes(finding)
    ]
    if not named:
        return "It recognises all classes about equally well."
    return f"It fails most often for {_listed(named)}."


def against_plain(finding: Finding) -> str:
    """Say whether it beats the plain alternative, and by how much."""
    plain = finding["plain"]
    if plain is None:
        return "It was not compared with plain statistics of the sound: they were not measured."
    method = f"{plain['name']} with a linear classifier"
    if plain["outcome"] == CHOSEN:
        folds = finding["by_folds"]
        beats = "it beats all that was trained" if folds else "nothing trained beats it"
        by = f": {beats} by more than a standard error on validation clips"
        known = finding["best"]["validation"] is not None
        return f"That is the plain method itself ({method}){by if known else ''}."
    p = "" if plain["p_holm"] is None else f"; p {plain['p_holm']:.3f}, corrected"
    return (
        f"It is {_VERDICTS[plain['outcome']]} the plain alternative, {method} "
        f"({percent(plain['mean'])} %): {points(plain)} points ({plain['interval']}{p})."
    )


def mistake(pair: Finding) -> str:
    """Return what is taken for what.

    >>> [mistake({"label": "organ", "predicted": name}) for name in ("vocal", "")]
    ['organ taken for vocal', 'organ missed']
    """
    label, predicted = (short_label(pair[key], 50) for key in ("label", "predicted"))
    return f"{label} taken for {predicted}" if predicted else f"{label} missed"


def points(row: Finding) -> str:
    """Return a difference with its interval, in points.

    >>> points({"difference": 0.05, "low": -0.012, "high": 0.112})
    '+5.0 [-1.2, +11.2]'
    """
    value, low, high = (percent(row[key], signed=True) for key in ("difference", "low", "high"))
    return f"{value} [{low}, {high}]"


def next_steps(finding: Finding, where: str = "below") -> str:
    """Say what is worth doing next, where clips with labels that look wrong are there."""
    weak, suspects, steps = weak_classes(finding), finding["suspects"], []
    if weak:
        named = [f"{short_label(row['label'], 40)} (so far {row['n_labelled']:,})" for row in weak]
        steps.append(f"label more clips of {_listed(named)}")
    if suspects:
        clips = counted(len(suspects), "clip")
        steps.append(f"listen to the {clips} {where} whose label looks wrong")
    return " and ".join(steps) or "use it: the pipeline classify labels new audio"


def _listed(names: Sequence[str]) -> str:
    """Return names as a list in a sentence.

    >>> _listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def closing_words(findings: Sequence[Finding], overall: Mapping[str, Any] | None) -> str:
    """Return three sentences for the end of a run, without statistics.

    ``overall`` is what :func:`~unfused.reporting.findings.best_over_tasks` returned.
    """
    several = len(findings) > 1
    return "\n".join(_over_tasks(findings, overall) if several else _of_task(findings[0]))


def _over_tasks(findings: Sequence[Finding], overall: Mapping[str, Any] | None) -> list[str]:
    n, start = len(findings), f"Over {len(findings)} tasks no classifier was measured everywhere."
    if overall is not None:
        mean, low, high = (percent(overall[name]) for name in ("mean", "low", "high"))
        start = (
            f"Over {n} tasks, {overall['name']} does best on validation clips and reaches {mean} % "
            f"on average on test clips ({low} to {high} %)."
        )
    beaten = sum((one["plain"] or {}).get("outcome") == BETTER for one in findings)
    ranked = sorted(findings, key=lambda one: float(one["best"]["mean"]))
    worst, best = (
        f"{short_label(one['task'], 40)} ({percent(one['best']['mean'])} %)"
        for one in (ranked[0], ranked[-1])
    )
    return [
        start,
        f"The best classifier of each task clearly beats the plain method on {beaten} of {n}; it "
        f"does best on {best} and worst on {worst}.",
        f"Next, look at what is confused on {short_label(ranked[0]['task'], 40)}: the report has "
        "clips to listen to.",
    ]


def _of_task(finding: Finding) -> list[str]:
    best, plain, pairs = finding["best"], finding["plain"], finding["pairs"]
    task, name = short_label(finding["task"], 40), short_label(best["name"], 60)
    does = f"labels {100 * best['mean']:.0f} of 100 new clips correctly"
    if finding["several_labels"]:
        does = f"scores {100 * best['mean']:.0f} of 100 points on new clips"
    if best["low"] is not None:
        low, high = 100 * best["low"], 100 * best["high"]
        does += f"; on other clips like these it may be anything from {low:.0f} to {high:.0f}"
    middle = "There is no plain method to compare it with"
    if plain is not None:
        method = f"the plain method, {plain['name']} with a linear classifier"
        middle = f"That is {method}"
        if plain["outcome"] != CHOSEN:
            middle = f"That is {_VERDICTS[plain['outcome']]} {method} ({100 * plain['mean']:.0f})"
    if pairs:
        middle += f"; its most frequent mistake: {mistake(pairs[0])}"
    return [
        f"On {task}, {name} ({_rank(finding)}) {does}.",
        f"{middle}.",
        f"Next, {next_steps(finding, 'in the report')}.",
    ]
