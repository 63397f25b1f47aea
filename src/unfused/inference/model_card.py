"""The model card: what a model is, how it was made, how good it is, its limits, how to load it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from ..reporting.naming import cut_name, metric_name, protocol_name
from .classifier import Classifier

BASELINES = ("random_init", "log_mel_statistics")
_UNKNOWN = "not known here"


def model_card(
    classifier: Classifier,
    onnx: Mapping[str, Any],
    *,
    summary: pd.DataFrame | None = None,
) -> str:
    """Return the card as Markdown.

    Args:
        classifier: The model.
        onnx: What :func:`unfused.inference.export.read_onnx_facts` returned.
        summary: The run's scores, see :func:`unfused.reporting.aggregate.summarise`.
    """
    task = _task(classifier)
    parts = [
        f"# {_title(classifier)} for {task['shown']}",
        _what(classifier),
        "## How it was made\n\n" + _table(_origin(classifier, task)),
        "## Scores\n\n" + _scores(classifier, task, summary),
        "## Limits\n\n" + _limits(classifier),
        "## Files\n\n" + _files(onnx),
        "## Use\n\n" + _use(classifier),
        "## Licence\n\n" + _licence(task),
    ]
    return "\n\n".join(parts) + "\n"


def _title(classifier: Classifier) -> str:
    facts = classifier.provenance
    known = {"unfused": "UnFuSeD student", "unfused_full": "UnFuSeD, full encoder"}
    how = "linear probe" if facts.get("protocol") == "linear_probe" else "trained end to end"
    encoder = facts.get("encoder", classifier.encoder.name)
    return f"{known.get(encoder, encoder)} ({how})"


def _task(classifier: Classifier) -> dict[str, Any]:
    facts = classifier.provenance
    name = facts.get("task") or classifier.encoder.provenance.get("task")
    return {"name": name, "shown": name or "a task", "licence": facts.get("licence"),
            "teacher": "the teacher"}  # fmt: skip


def _what(classifier: Classifier) -> str:
    encoder, several = classifier.encoder.encoder, classifier.head.kind.name == "multi_label"
    says = "any number of" if several else "one of"
    names = ", ".join(f"`{name}`" for name in classifier.classes)
    return (
        f"Takes audio of any sample rate (converted to {classifier.encoder.sample_rate} Hz, mono), "
        f"gives a vector of {encoder.dim} numbers for each clip and for each "
        f"{_frame_ms(classifier):g} ms, and says which of {len(classifier.classes)} classes a clip "
        f"has ({says} them): {names}. The encoder has {encoder.n_parameters:,} parameters."
    )


def _frame_ms(classifier: Classifier) -> float:
    encoder, front_end = classifier.encoder.encoder, classifier.encoder.log_mel_front_end
    return encoder.strides[encoder.cut] * front_end.hop / front_end.sample_rate * 1000


def _origin(classifier: Classifier, task: Mapping[str, Any]) -> dict[str, Any]:
    encoder, head = classifier.encoder, classifier.provenance
    made, front_end = encoder.provenance, encoder.front_end
    settings, source = encoder.encoder.settings, made.get("source")
    return {
        "data": f"{task['shown']}: {head.get('n_train')} labelled training clips and "
        f"{head.get('n_valid')} for validation (fold {head.get('fold')}); the longest has "
        f"{head.get('longest_seconds')} s",
        "audio of the encoder": _trained_on(head),
        "encoder": f"{encoder.name}, cut at {encoder.encoder.cut}; {_inline(settings)}",
        "pre-training or distillation": made.get("method"),
        "pseudo-labels of": task.get("teacher") if source == "teacher" else source,
        "its parameters": _inline(made.get("parameters") or {}),
        "seed": made.get("seed"),
        "head": f"{head.get('protocol')}, chosen by {head.get('chosen_by')} on validation",
        "penalty": head.get("regularisation"),
        "embedding of a clip": head.get("embedding"),
        "front-end": _inline(front_end),
        "normalisation": f"mean {encoder.mean:.4f}, standard deviation {encoder.std:.4f}",
        "versions": _inline(made.get("versions") or {}),
        "code": made.get("git_commit"),
    }


def _trained_on(head: Mapping[str, Any]) -> str | None:
    """Return what the encoder was trained on; None where that was not noted."""
    if head.get("n_trained_on") is None:
        return None
    clips, unlabelled = head["n_trained_on"], head["n_unlabelled"]
    return f"{clips:,} clips, {unlabelled:,} of them without a label of this task"


def _scores(classifier: Classifier, task: Mapping[str, Any], summary: pd.DataFrame | None) -> str:
    if summary is None:
        return f"{_UNKNOWN}: the model was taken from a folder, not from this project's last run."
    facts = classifier.provenance
    of_task = summary[summary["task"] == task["shown"]]
    how = facts.get("protocol")
    same = of_task[of_task["protocol"] == how]
    mine = same[
        (same["encoder"] == facts.get("encoder"))
        & (same["source"] == (facts.get("source") or ""))
        & (same["cut"] == facts.get("cut"))
    ]
    if mine.empty:
        return f"{_UNKNOWN}: the last run did not score this encoder at this cut."
    scratch = of_task["encoder"].str.startswith("supervised")
    rivals = of_task[
        (of_task["encoder"].str.startswith(BASELINES) & (of_task["protocol"] == how)) | scratch
    ]
    rivals = rivals[~rivals.index.isin(mine.index)]
    metric = mine["metric"].iloc[0]
    lines = [
        "| | cut | protocol | metric | score in % | 95 % interval |",
        "|---|---|---|---|---|---|",
    ]
    for part, name in ((mine, "**this model**"), (rivals[rivals["metric"] == metric], None)):
        for row in part.to_dict("records"):
            lines.append(_score_row(row, name))
    row = mine.iloc[0]
    note = (
        f"On {int(row['n_test'])} test clips, over {int(row['n_seeds'])} seed(s) and "
        f"{int(row['n_folds'])} fold(s) of the whole study; this file is one of them. "
        f"Intervals: {row['interval']}. Chance: {metric_name(metric)} "
        f"{100 * float(row['chance']):.1f} %."
    )
    return "\n".join(lines) + "\n\n" + note


def _score_row(row: Mapping[str, Any], name: str | None) -> str:
    interval = f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"
    if pd.isna(row["low"]):
        interval = "none"
    shown = [name or row["name"], cut_name(row["cut"]), protocol_name(row["protocol"])]
    shown += [metric_name(row["metric"]), f"{100 * row['mean']:.1f}", interval]
    return "| " + " | ".join(map(_cell, shown)) + " |"


def _limits(classifier: Classifier) -> str:
    facts = classifier.provenance
    lines = [
        "It knows no class but those above: audio of anything else gets one of them all the same, "
        "with a probability that says little."
        if classifier.head.kind.name == "single_label"
        else "It knows no class but those above.",
        "Probabilities are those of the classifier as fitted; they were not calibrated on other "
        "data.",
        f"It was fitted on clips of {facts.get('median_seconds')} s (median), "
        f"{facts.get('longest_seconds')} s at most. Longer recordings should be cut into pieces of "
        "about that length, as the pipeline `classify` does.",
        "The scores hold for audio like the task's. Other microphones, rooms or species can be "
        "worse; label some clips of yours and measure.",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _files(onnx: Mapping[str, Any]) -> str:
    rows = {
        "`encoder.safetensors`, `encoder.json`": "weights; architecture, front-end, origin",
        "`head.safetensors`, `head.json`": "the classifier; its classes and origin",
        "`onnx.json`": "facts about the ONNX file",
    }
    if not onnx.get("file"):
        return _table(rows) + f"\n\nThere is no ONNX file: {onnx.get('why')}."
    rows[f"`{onnx['file']}`"] = f"the encoder: {onnx['input']} -> {onnx['output']}"
    return _table(rows) + (
        f"\n\nONNX Runtime {onnx['runtime']} gave the embeddings of PyTorch within "
        f"{onnx['difference']:.2g} ({onnx['relative']:.1g} of their root mean square), on batches "
        f"(B, T) of {', '.join(str(tuple(shape)) for shape in onnx['shapes'])}. The file normalises"
        " and pads by itself. Clips of fewer than 96 frames have to be centred in 96 frames of the "
        "log-mel of silence, which it cannot mask; those of more than 12 s should be cut."
    )


def _use(classifier: Classifier) -> str:
    return (
        "```python\nfrom unfused import load_classifier, load_encoder\n\n"
        'classifier = load_classifier("<this folder>")\n'
        'print(classifier.predict("clip.wav").label)\n'
        'encoder = load_encoder("<this folder>")\n'
        'vector = encoder.embed("clip.wav").clip                      '
        f"# ({classifier.encoder.dim},)\n```"
    )


def _licence(task: Mapping[str, Any]) -> str:
    data = task.get("licence") or "not recorded; that of your audio decides"
    return (
        "The code is under the MIT licence. For weights, the terms of the audio they were trained "
        f"on matter too. {task['shown']}: {data}."
    )


def _table(rows: Mapping[str, Any]) -> str:
    known = {key: value for key, value in rows.items() if value not in (None, "")}
    return "\n".join(["| | |", "|---|---|", *(f"| {k} | {_cell(v)} |" for k, v in known.items())])


def _inline(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {_plain(value)}" for key, value in values.items())


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({_inline(value)})"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _joined(value)
    return value if isinstance(value, str) else json.dumps(value)


def _joined(values: Iterable[Any]) -> str:
    return "[" + " ".join(_plain(value) for value in values) + "]"


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
