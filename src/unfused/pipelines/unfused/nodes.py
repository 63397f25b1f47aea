"""UnFuSeD on one task: pseudo-labels from its audio, self-distillation of a random encoder."""

import json
from typing import Any

import pandas as pd

from ...core.workspace import Workspace, fingerprint
from ...params import Distillation, EncoderParams, Evaluation, PseudoLabels, Run


def cluster_pseudo_labels(
    workspace: Workspace,
    teachers: Any,
    store: Any,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    settings: PseudoLabels,
    evaluation: Evaluation,
    run: Run,
) -> tuple[pd.DataFrame, list, pd.DataFrame]:
    """Cluster the task's training audio by the teacher's features into pseudo-labels.

    Clips that sound alike to the teacher get the same number. Done for every seed and fold, and for
    the controls: a random encoder, log-mel statistics, shuffled numbers.
    """
    from ...core.repeats import repeats
    from ...distillation.task_clusters import cluster_task
    from ...tasks.task_data import TaskData
    from ...training.pretraining import untrained_like

    task, found = TaskData(store, manifest, splits), []
    for repeat in repeats(run.seeds, task.folds):
        name = teachers.matching(*repeat)
        transductive = evaluation.transductive
        known = settings, transductive, repeat, teachers.digest(name), store.front_end
        mark = fingerprint("clusters", *known, splits, manifest[["clip_id", "label"]])

        def build(_: Any, repeat: Any = repeat, name: str = name) -> dict[str, pd.DataFrame]:
            teacher = teachers.load(name)
            random = untrained_like(teacher, teacher.name, teacher.encoder.settings, repeat.seed)
            return cluster_task(
                task,
                repeat,
                {"teacher": teacher, "random_encoder": random},
                transductive=evaluation.transductive,
                device=run.device,
                **settings.model_dump(),
            )

        found.append(workspace.tables(repeat.name, mark, build, fresh=run.fresh))
    labels = pd.concat([tables["pseudo_labels"] for tables in found], ignore_index=True)
    quality = pd.concat([tables["quality"] for tables in found], ignore_index=True)
    return labels, json.loads(quality.to_json(orient="records")), found[0]["features"]


def self_distil_students(
    workspace: Workspace,
    pseudo_labels: pd.DataFrame,
    store: Any,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    settings: Distillation,
    evaluation: Evaluation,
    encoder: EncoderParams,
    run: Run,
) -> tuple[Any, pd.DataFrame]:
    """Train the student: a randomly initialised encoder learns the pseudo-labels.

    Self-distillation (UnFuSeD): shallow exits of the network learn from its last layer. One student
    for every seed, fold and source of pseudo-labels.
    """
    from ...distillation.student import self_distil
    from ...encoders.collection import EncoderCollection
    from ...tasks.task_data import TaskData
    from ...training.history import load_history

    task, recipe = TaskData(store, manifest, splits), student_recipe(settings, encoder)
    histories = []
    folders: dict[str, Any] = {}
    for (source, seed, fold), of_repeat in pseudo_labels.groupby(["source", "seed", "fold"]):
        data = task.unsupervised(int(fold), transductive=evaluation.transductive)
        labels = (
            of_repeat.set_index("clip_id")["pseudo_label"].loc[data.clips["clip_id"]].to_numpy()
        )
        mark = fingerprint(
            "student", recipe, settings.cut, seed, data.clips, labels, store.front_end
        )
        name = f"{source}-seed{seed}-fold{fold}"
        piece = workspace.piece(name, mark, fresh=run.fresh)
        folders |= {f"{name}/{kind}": piece.path / kind for kind in ("student", "full")}
        if not piece.finished:
            self_distil(
                piece.path,
                data,
                labels,
                recipe,
                cut=settings.cut,
                seed=int(seed),
                facts={"task": workspace.path.parent.name, "fold": int(fold), "source": source},
                device=run.device,
            )
            piece.finish()
        histories.append(load_history(piece.path, source=source, seed=seed, fold=fold))
    students = EncoderCollection(folders)
    return students, pd.concat(histories, ignore_index=True)


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
