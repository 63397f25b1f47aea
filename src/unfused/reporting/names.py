"""What a reader sees instead of the identifiers in result rows, and in which order."""

import re
from collections.abc import Iterable

PLAIN = ("mfcc_statistics", "log_mel_statistics")
"""Encoders that take no training; with a linear classifier, the plain alternative."""
BASELINES = ("random_init", *PLAIN, "supervised")
STUDENT, STUDENT_FULL = "unfused", "unfused_full"
STUDENTS = (STUDENT, STUDENT_FULL, "embedding_student", "embedding_student_full")
CHOSEN = "chosen"
"""With few labels: what :func:`~unfused.probes.choose_model.model_to_use` takes."""
MAIN_METRICS = ("accuracy", "mAP")
"""What tables and comparisons show: of tasks with one label a clip, and with several."""
UPPER_BOUND = "true_labels"
_CONTROLS = {
    "random_encoder": "pseudo-labels of a random encoder",
    "mfcc_statistics": "pseudo-labels of MFCC statistics",
    "log_mel_statistics": "pseudo-labels of log-mel statistics",
    "shuffled": "shuffled pseudo-labels",
    UPPER_BOUND: "the true labels (upper bound)",
}
_ENCODERS = {
    "random_init": "Random init",
    "mfcc_statistics": "MFCC statistics",
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
    "distilled": "Distilled encoder",
    "birdnet": "BirdNET",
    "speech_embedding": "Google speech embedding",
    "resemblyzer": "Resemblyzer",
    "all_three": "Three outside encoders + MFCC statistics",
    CHOSEN: "The one that would be chosen",
    STUDENT: "UnFuSeD student",
    STUDENT_FULL: "UnFuSeD full",
    "embedding_student": "Embedding student",
    "embedding_student_full": "Embedding student, full",
}
_PROTOCOLS = {
    "linear_probe": "Linear probe",
    "knn": "Nearest neighbours",
    "fine_tuning": "Fine-tuning",
}
_METRICS = {"macro_f1": "Macro F1", "mAP": "mAP", "auc": "AUC", "d_prime": "d-prime"}


def is_control(source: str) -> bool:
    """Return whether pseudo-labels of this source are there only to be compared with."""
    return source not in ("", "teacher")


def baseline_of(encoder: str) -> str | None:
    """Return which baseline an encoder is, also of another architecture or size.

    >>> baseline_of("random_init_conformer"), baseline_of("MFCC statistics in 3 segments")
    ('random_init', 'mfcc_statistics')
    >>> baseline_of("mfcc_statistics + unfused")
    """
    first, *others = encoder.split(" + ")
    plain = re.sub(r"[^a-z0-9]+", "_", first.lower())
    base = next((name for name in BASELINES if plain.startswith(name)), None)
    return base if all(map(baseline_of, others)) else None


def encoder_name(encoder: str, source: str = "", *, teacher: str | None = None) -> str:
    """Return the name for people of an encoder with pseudo-labels of a source.

    >>> encoder_name("unfused", "shuffled"), encoder_name("supervised_slicer")
    ('Self-distilled on shuffled pseudo-labels', 'Supervised from scratch (SLICER)')
    >>> encoder_name("unfused + mfcc_statistics", "teacher")
    'UnFuSeD student + MFCC statistics'
    """
    if " + " in encoder:
        parts = encoder.split(" + ")
        return " + ".join(encoder_name(part, teacher=teacher) for part in parts)
    if is_control(source):
        whole = ", full" if encoder == STUDENT_FULL else ""
        return f"Self-distilled on {_CONTROLS.get(source, f'pseudo-labels of {source}')}{whole}"
    base = baseline_of(encoder)
    if encoder not in _ENCODERS and base and encoder.startswith(f"{base}_"):
        method = encoder.removeprefix(f"{base}_")
        return f"{_ENCODERS[base]} ({_ENCODERS.get(method, method)})"
    return _ENCODERS.get(encoder, encoder) + (" teacher" if encoder == teacher else "")


def encoder_rank(encoder: str, source: str = "") -> int:
    """Return where a table puts an encoder: baselines, pre-trained, controls, student, full."""
    if base := baseline_of(encoder):
        return BASELINES.index(base)
    if encoder not in STUDENTS:
        return 10
    order = list(_CONTROLS).index(source) if source in _CONTROLS else len(_CONTROLS)
    return (20 + 2 * order if is_control(source) else 40) + STUDENTS.index(encoder)


def protocol_rank(protocol: str) -> int:
    """Return where a table puts a protocol: probes first, end-to-end training last."""
    return list(_PROTOCOLS).index(protocol) if protocol in _PROTOCOLS else len(_PROTOCOLS)


def protocol_name(protocol: str) -> str:
    """Return the name of an evaluation protocol for people."""
    return _PROTOCOLS.get(protocol, protocol.replace("_", " ").capitalize())


def metric_name(metric: str) -> str:
    """Return the name of a metric for people."""
    return _METRICS.get(metric, metric.replace("_", " ").capitalize())


def short_label(label: object, length: int = 18) -> str:
    """Return a label in one line that fits beside a figure.

    >>> short_label("a very long class name indeed")
    'a very long class…'
    """
    text = " ".join(str(label).split())
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def counted(numbers: int | Iterable[int], noun: str) -> str:
    """Return a number, or the smallest and the largest of several, and a noun.

    >>> counted(1200, "clip"), counted([3, 3], "seed"), counted([1, 3], "draw"), counted(1, "seed")
    ('1,200 clips', '3 seeds', '1 to 3 draws', '1 seed')
    """
    known = [numbers] if isinstance(numbers, int) else [int(number) for number in numbers]
    low, high = min(known), max(known)
    return f"{low:,} to {high:,} {noun}s" if low < high else f"{high:,} {noun}{'s' * (high != 1)}"


def natural_order(name: str) -> list[tuple[int, str]]:
    """Return a sorting key that puts "command 2" before "command 10"."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name.casefold())
    return [(int(part), "") if part.isdecimal() else (2**62, part) for part in parts]
