"""Evaluation on the true labels: linear probes, fine-tuning, training from scratch."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from ...core.workspace import Workspace, fingerprint
from ...params import Distillation, EncoderParams, Evaluation, FineTuning, Run

_SOUNDFONT = "rendered from the SoundFont TimGM6mb, which is under the GPL-2"
RENDERED_LICENCE = {"demo": _SOUNDFONT, "demo_mixtures": _SOUNDFONT}
TRUTH = ["clip_id", "label", "group"]  # of a manifest: files may move without changing a score


def embed_task(
    workspace: Workspace,
    store: Any,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    evaluation: Evaluation,
    distillation: Distillation,
    encoder: EncoderParams,
    run: Run,
    students: Any = None,
    **methods: Any,
) -> Any:
    """Embed the labelled clips with every encoder, once; whole ones at the student's cut too."""
    from ...probes.embedding_cache import EmbeddingCollection, embed_candidate, folder_name
    from ...tasks.task_data import TaskData

    task, protocol = TaskData(store, manifest, splits), evaluation.embedding
    rows, folders = task.labelled_rows, []
    study = methods, students, task, evaluation, distillation, encoder, run
    for repeat, candidate in _candidates(*study):
        name = folder_name(candidate, repeat, protocol)
        if name not in folders:
            folders.append(name)
            mark = fingerprint("embed", name, store.clip_ids[rows], store.front_end)
            piece = workspace.piece(name, mark, fresh=run.fresh)
            if not piece.finished:
                embed_candidate(
                    piece.path, candidate, store, rows,
                    protocol=protocol, seed=repeat.seed, device=run.device,
                )  # fmt: skip
                piece.finish()
    return EmbeddingCollection(workspace.path, tuple(folders))


def evaluate_frozen_encoders(
    workspace: Workspace,
    embeddings: Any,
    store: Any,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    evaluation: Evaluation,
    distillation: Distillation,
    encoder: EncoderParams,
    run: Run,
    students: Any = None,
    **methods: Any,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Probe every frozen encoder of every repeat."""
    from ...probes.frozen_evaluation import evaluate_frozen
    from ...tasks.task_data import TaskData

    task, found = TaskData(store, manifest, splits), []
    study = methods, students, task, evaluation, distillation, encoder, run
    for repeat, candidate in _one_by_one(_candidates(*study), "probing"):
        given = embeddings.of(candidate, repeat, evaluation.embedding)
        known = given.path.name, evaluation.protocols, evaluation.transductive
        mark = fingerprint("probe 3", *known, repeat, splits, manifest[TRUTH], store.front_end)

        def build(_: Any, of: Any = (candidate, given, task, repeat)) -> dict[str, pd.DataFrame]:
            return evaluate_frozen(
                *of,
                protocols=evaluation.protocols,
                transductive=evaluation.transductive,
                facts={"embedding": evaluation.embedding},
            )

        found.append(
            workspace.tables(f"{candidate.name}-{repeat.name}", mark, build, fresh=run.fresh)
        )
    return _joined(found, "results"), _joined(found, "predictions")


def train_supervised(
    workspace: Workspace,
    store: Any,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    evaluation: Evaluation,
    distillation: Distillation,
    encoder: EncoderParams,
    run: Run,
    students: Any = None,
    **methods: Any,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Train end to end on the true labels: chosen encoders, and random ones from scratch."""
    from ...probes.supervised_evaluation import evaluate_supervised, plans
    from ...tasks.task_data import TaskData

    task, found = TaskData(store, manifest, splits), []
    wanted = supervised_settings(evaluation.supervised)
    how: dict[str, Any] = {"transductive": evaluation.transductive, "device": run.device}
    study = methods, students, task, evaluation, distillation, encoder, run
    for repeat, candidate in _candidates(*study):
        for plan in plans(candidate, evaluation.supervised.encoders, *wanted):
            known = candidate.digest, plan, store.front_end, evaluation.transductive
            mark = fingerprint("supervised 3", *known, repeat, splits, manifest[TRUTH])

            def build(
                folder: Any, of: Any = (candidate, plan, task, repeat)
            ) -> dict[str, pd.DataFrame]:
                return evaluate_supervised(folder, *of, **how)

            name = f"{plan.label}-{repeat.name}"
            found.append(workspace.tables(name, mark, build, fresh=run.fresh))
    results, predictions, history = (
        _joined(found, key) for key in ("results", "predictions", "history")
    )
    return results, predictions, history


def measure_label_efficiency(
    workspace: Workspace,
    embeddings: Any,
    store: Any,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    evaluation: Evaluation,
    distillation: Distillation,
    encoder: EncoderParams,
    run: Run,
    students: Any = None,
    **methods: Any,
) -> pd.DataFrame:
    """Score chosen encoders after learning from few labels, for every budget and draw."""
    from ...probes import label_efficiency as few
    from ...probes.supervised_evaluation import plans
    from ...tasks.task_data import TaskData

    asked, task, found = evaluation.label_efficiency, TaskData(store, manifest, splits), []
    budgets = asked.parsed()
    settings = few.EfficiencySettings(budgets, asked.draws, evaluation.transductive, run.device)
    wanted = supervised_settings(evaluation.supervised)
    study = methods, students, task, evaluation, distillation, encoder, run
    chosen = _candidates(*study) if budgets else ()
    for repeat, candidate in _one_by_one(chosen, "label efficiency"):
        given = embeddings.of(candidate, repeat, evaluation.embedding)
        known = candidate.digest, budgets, asked.draws, store.front_end, evaluation.transductive
        truth = repeat, splits, manifest[TRUTH]
        for protocol in asked.protocols if asked.takes(candidate.label, candidate.source) else ():
            probe = partial(
                few.probe_with_few_labels, candidate, given, task, repeat, protocol, settings
            )
            mark = fingerprint("few labels 3", protocol, given.path.name, *known, *truth)
            name = f"{candidate.name}-{protocol}-{repeat.name}"
            found.append(workspace.tables(name, mark, _rows_of(probe), fresh=run.fresh))
        for plan in plans(candidate, asked.fine_tuning, *wanted) if asked.fine_tuning else ():
            tune = partial(
                few.train_with_few_labels,
                candidate=candidate, plan=plan, task=task, repeat=repeat, settings=settings,
            )  # fmt: skip
            mark = fingerprint("few labels 3", plan, *known, *truth)
            name = f"{plan.label}-fine_tuning-{repeat.name}"
            found.append(workspace.tables(name, mark, _rows_of(tune, True), fresh=run.fresh))
    return _joined(found, "rows") if found else pd.DataFrame(columns=list(few.COLUMNS))


def _rows_of(
    measure: Callable[..., pd.DataFrame], in_folder: bool = False
) -> Callable[[Path], dict[str, pd.DataFrame]]:
    """Return what a workspace calls to build one table of rows."""
    return lambda folder: {"rows": measure(folder) if in_folder else measure()}


def _candidates(
    methods: dict[str, Any],
    students: Any,
    task: Any,
    evaluation: Evaluation,
    distillation: Distillation,
    encoder: EncoderParams,
    run: Run,
) -> Any:
    from ...probes.candidates import candidates_by_repeat

    cuts, cut = evaluation.cuts, distillation.cut
    return candidates_by_repeat(methods, students, run.seeds, task.folds, encoder, cuts, cut)


def _one_by_one(candidates: Iterable[Any], what: str) -> Any:
    """Go through candidates with a progress bar."""
    from ...core.progress import progress

    found = list(candidates)
    return progress(found, total=len(found), desc=what, unit="encoder")


def supervised_settings(supervised: FineTuning) -> tuple[Any, Any]:
    """Return the library's settings of fine-tuning and of training from scratch."""
    from ...probes.fine_tuning import FineTuningSettings

    shared: dict[str, Any] = supervised.model_dump(
        exclude={"encoders", "head", "fine_tuning", "from_scratch"}
    )
    return (
        FineTuningSettings(training=supervised.fine_tuning, head=supervised.head, **shared),
        FineTuningSettings(training=supervised.from_scratch, head="random", **shared),
    )


def collect_task_results(
    frozen: pd.DataFrame,
    frozen_predictions: pd.DataFrame,
    supervised: pd.DataFrame,
    supervised_predictions: pd.DataFrame,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put all rows of one task together."""
    results = pd.concat([frozen, supervised], ignore_index=True)
    predictions = pd.concat([frozen_predictions, supervised_predictions], ignore_index=True)
    return results, predictions


def record_study(tasks: dict, teacher: str, **results: pd.DataFrame) -> dict[str, Any]:
    """Note the tasks of a finished study, in order, and what they are called in its tables."""
    from ...reporting.names import task_name

    noted = []
    for name in results:
        entry = tasks[name]
        entry = entry.model_dump() if hasattr(entry, "model_dump") else entry
        audio, card = entry["audio"], entry.get("card") or {}
        licence = card.get("licence") or RENDERED_LICENCE.get(str(audio))
        shown = task_name(name, audio, entry.get("title"))
        noted.append({"name": name, "shown": shown, "licence": licence})
    return {"tasks": noted, "teacher": teacher}


def _joined(found: list[dict[str, pd.DataFrame]], key: str) -> pd.DataFrame:
    return pd.concat([tables[key] for tables in found], ignore_index=True)
