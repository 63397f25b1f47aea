"""What a reader sees instead of the identifiers in result rows, and in which order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..data.sources import corpus_name

BASELINES = ("random_init", "log_mel_statistics", "supervised")
STUDENT, STUDENT_FULL = "unfused", "unfused_full"
OWN_DATA = "own_data"
TEACHER_SOURCES = ("teacher", "")
CONTROLS = {
    "random_encoder": "pseudo-labels of a random encoder",
    "log_mel_statistics": "pseudo-labels of log-mel statistics",
    "shuffled": "shuffled pseudo-labels",
    "true_labels": "the true labels (upper bound)",
}
UPPER_BOUND = "true_labels"
_ENCODERS = {
    "random_init": "Random init",
    "log_mel_statistics": "Log-mel statistics",
    "supervised": "Supervised from scratch",
    "decar": "DECAR-v2",
    "byol_a": "BYOL-A",
    "cola": "COLA",
    "conformer": "Conformer",
    "delores_s": "DeLoRes-S",
    "delores_m": "DeLoRes-M",
    "selfie": "SELFIE",
    "slicer": "SLICER",
    "unfused": "UnFuSeD student",
    "unfused_full": "UnFuSeD full",
}
_PROTOCOLS = {
    "linear_probe": "Linear probe",
    "knn": "Nearest neighbours",
    "fine_tuning": "Fine-tuning",
}
_METRICS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "mAP": "mAP",
    "auc": "AUC",
    "d_prime": "d-prime",
}
MULTI_LABEL_METRICS = {"accuracy": "mAP", "balanced_accuracy": "auc", "macro_f1": "d_prime"}
"""What takes a metric's place where a clip has several labels."""


def teacher_of(encoders: Iterable[str]) -> str | None:
    """Return the encoder whose pseudo-labels the student learnt, or None if that is unclear.

    It is the only pre-trained encoder among the results; among several, ``decar`` if it is there.

    >>> teacher_of(["random_init", "byol_a", "unfused"])
    'byol_a'
    """
    names = {str(encoder) for encoder in encoders if not _baseline(str(encoder))}
    pretrained = sorted(names - {STUDENT, STUDENT_FULL})
    if len(pretrained) == 1:
        return pretrained[0]
    return "decar" if "decar" in pretrained else None


def encoder_name(encoder: str, source: str = "", *, teacher: str | None = "decar") -> str:
    """Return the name of an encoder for people.

    Args:
        encoder: Identifier in the result rows.
        source: Where its pseudo-labels came from.
        teacher: Which encoder to call the teacher.

    >>> encoder_name("unfused", "shuffled")
    'Self-distilled on shuffled pseudo-labels'
    """
    if encoder in (STUDENT, STUDENT_FULL) and source not in TEACHER_SOURCES:
        whole = ", full" if encoder == STUDENT_FULL else ""
        return f"Self-distilled on {CONTROLS.get(source, f'pseudo-labels of {source}')}{whole}"
    if (baseline := _baseline(encoder)) and baseline != encoder:  # of a method's own architecture
        method = encoder.removeprefix(f"{baseline}_")
        return f"{_ENCODERS[baseline]} ({_ENCODERS.get(method, method)})"
    name = _ENCODERS.get(encoder, encoder)
    return f"{name} teacher" if encoder == teacher else name


def _baseline(encoder: str) -> str | None:
    """Return which baseline an encoder is, also of another architecture."""
    return next((name for name in BASELINES if encoder.startswith(name)), None)


def encoder_rank(encoder: str, source: str = "") -> int:
    """Return where a table puts an encoder: baselines, pre-trained, controls, student, full."""
    if baseline := _baseline(encoder):
        return BASELINES.index(baseline)
    if encoder not in (STUDENT, STUDENT_FULL):
        return 10
    if source not in TEACHER_SOURCES:
        order = list(CONTROLS).index(source) if source in CONTROLS else len(CONTROLS)
        return 20 + 2 * order + (encoder == STUDENT_FULL)
    return 30 + (encoder == STUDENT_FULL)


def task_name(task: str, audio: str | Sequence[str], title: str | None = None) -> str:
    """Return the name of a task in tables and figures: one's own data go by title or folder.

    Args:
        task: Its name in the configuration.
        audio: Where the own data are.
        title: What they are called.

    >>> task_name("own_data", "/audio/birds"), task_name("nsynth", "/audio/birds")
    ('birds', 'nsynth')
    """
    return (title or corpus_name(audio)) if task == OWN_DATA else task


def protocol_rank(protocol: str) -> int:
    """Return where a table puts a protocol: probes first, end-to-end training last."""
    return list(_PROTOCOLS).index(protocol) if protocol in _PROTOCOLS else len(_PROTOCOLS)


def protocol_name(protocol: str) -> str:
    """Return the name of an evaluation protocol for people."""
    return _PROTOCOLS.get(protocol, protocol.replace("_", " ").capitalize())


def metric_name(metric: str) -> str:
    """Return the name of a metric for people."""
    return _METRICS.get(metric, metric.replace("_", " ").capitalize())


def cut_name(cut: str) -> str:
    """Return the cut, or a dash where an encoder has none."""
    return cut or "\N{EN DASH}"


def short_label(label: object, length: int = 18) -> str:
    """Return a label that fits beside a figure.

    >>> short_label("a very long class name indeed")
    'a very long class…'
    """
    text = " ".join(str(label).split())
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def natural_order(name: str) -> list[tuple[int, str]]:
    """Return a sorting key that puts "command 2" before "command 10"."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name.casefold())
    return [(int(part), "") if part.isdecimal() else (2**62, part) for part in parts]


def percent(value: float, *, signed: bool = False) -> str:
    """Return a fraction in per cent with one decimal, without its unit.

    >>> percent(0.612), percent(-0.0004, signed=True)
    ('61.2', '0.0')
    """
    rounded = round(100 * value, 1) + 0.0
    return f"{rounded:+.1f}" if signed and rounded else f"{rounded:.1f}"
