"""UnFuSeD on one task: pseudo-labels from its audio, self-distillation of a random encoder."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from ...params import Distillation, EncoderParams, Evaluation, PseudoLabels, Run


def cluster_pseudo_labels(
    teachers: Any, corpus: Any, settings: PseudoLabels, evaluation: Evaluation, run: Run
) -> tuple[pd.DataFrame, list, pd.DataFrame]:
    """Cluster the task's training audio by the teacher's features into pseudo-labels.

    Clips that sound alike to the teacher get the same number. Done for every seed and fold, and for
    the controls: a random encoder, log-mel statistics, shuffled numbers.
    """
    from ...core.repeats import repeats
    from ...core.source import source_digest
    from ...distillation.task_clusters import cluster_task
    from ...tasks.task_data import TaskData
    from ...training.pretraining import untrained_like

    task, found = TaskData(corpus.store, corpus.clips, corpus.splits), []
    how: dict[str, Any] = {"transductive": evaluation.transductive, **settings.model_dump()}
    known = {**how, "clips": corpus.clips[["clip_id", "label"]], "splits": corpus.splits}
    known["source"] = source_digest("distillation.task_clusters")
    for repeat in repeats(run.seeds, corpus.folds):
        name = teachers.matching(*repeat)

        def build(_: Path, repeat: Any = repeat, name: str = name) -> dict[str, pd.DataFrame]:
            teacher = teachers.load(name)
            random = untrained_like(teacher, teacher.name, teacher.encoder.settings, repeat.seed)
            both = {"teacher": teacher, "random_encoder": random}
            return cluster_task(task, repeat, both, device=run.device, **how)

        made_of = {
            **known,
            "repeat": repeat,
            "corpus": corpus.mark,
            "teacher": teachers.digest(name),
        }
        outputs = run.outputs(corpus.name, "pseudo_labels")
        found.append(outputs.tables(repeat.name, made_of, build))
    labels = pd.concat([tables["pseudo_labels"] for tables in found], ignore_index=True)
    quality = pd.concat([tables["quality"] for tables in found], ignore_index=True)
    quality = quality.assign(task=corpus.name)
    return labels, json.loads(quality.to_json(orient="records")), found[0]["features"]


def self_distil_students(
    pseudo_labels: pd.DataFrame,
    corpus: Any,
    settings: Distillation,
    evaluation: Evaluation,
    encoder: EncoderParams,
    run: Run,
) -> tuple[Any, pd.DataFrame]:
    """Train the student: a randomly initialised encoder learns the pseudo-labels.

    Self-distillation (UnFuSeD): shallow exits of the network learn from its last layer. One student
    for every seed, fold and source of pseudo-labels.
    """
    from ...core.source import source_digest
    from ...distillation.student import self_distil
    from ...encoders.collection import EncoderCollection
    from ...tasks.task_data import TaskData
    from ...training.history import load_history

    task, recipe = (
        TaskData(corpus.store, corpus.clips, corpus.splits),
        student_recipe(settings, encoder),
    )
    code, histories = source_digest("distillation.student", "encoders"), []
    folders: dict[str, Path] = {}
    for (source, seed, fold), of_repeat in pseudo_labels.groupby(["source", "seed", "fold"]):
        data = task.unsupervised(int(fold), transductive=evaluation.transductive)
        known = of_repeat.set_index("clip_id")["pseudo_label"]
        labels = known.loc[data.clips["clip_id"]].to_numpy()
        made_of = {"recipe": recipe, "cut": settings.cut, "seed": seed, "clips": data.clips,
                   "labels": labels, "corpus": corpus.mark, "source": code}  # fmt: skip

        def build(
            folder: Path, data: Any = data, labels: Any = labels, of: Any = (source, seed, fold)
        ) -> None:
            facts = {"task": corpus.name, "fold": int(of[2]), "source": of[0]}
            how: dict[str, Any] = {"cut": settings.cut, "seed": int(of[1]), "device": run.device}
            self_distil(folder, data, labels, recipe, facts=facts, **how)

        name = f"{source}-seed{seed}-fold{fold}"
        folder = run.outputs(corpus.name, "unfused").built(name, made_of, build)
        folders |= {f"{name}/{kind}": folder / kind for kind in ("student", "full")}
        histories.append(load_history(folder, source=source, seed=seed, fold=fold))
    history = pd.concat(histories, ignore_index=True).assign(task=corpus.name)
    return EncoderCollection(folders), history


def student_recipe(settings: Distillation, encoder: EncoderParams) -> Any:
    """Return the library's description of self-distillation."""
    from ...distillation.student import Recipe

    return Recipe(
        encoder=encoder.name,
        encoder_settings=encoder.settings,
        training=settings.training,
        method_settings=settings.model_dump(exclude={"training", "views", "cut"}),
        views=settings.views.model_dump(),
    )
