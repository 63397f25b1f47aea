"""UnFuSeD on one task: pseudo-labels from its audio, self-distillation of a random encoder."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from ...params import Distillation, EncoderParams, Evaluation, PseudoLabels, Run, Unfused


def cluster_pseudo_labels(
    teachers: Any, corpus: Any, clustering: PseudoLabels, evaluation: Evaluation, run: Run
) -> tuple[pd.DataFrame, list, pd.DataFrame]:
    """Cluster the task's training audio by the teacher's vectors into pseudo-labels.

    Clips that sound alike to the teacher get the same number. Done for every seed and fold, and for
    the controls: a random encoder, plain statistics, shuffled numbers.
    """
    from ...core.repeats import repeats
    from ...distillation.controls import cluster_quality, labels_by_source

    labels, quality, points = [], [], []
    for repeat in repeats(run.seeds, corpus.folds):
        audio = corpus.for_training(repeat.fold, transductive=evaluation.transductive)
        train, which = corpus.part("train", repeat.fold), repeat._asdict()
        model = estimator(corpus, teachers, repeat, clustering, run, repeat.name)
        model.set_params(n_clusters=clustering.n_clusters or len(train.classes))
        found, of_teacher = labels_by_source(model, audio, train, clustering.controls)
        points.append(of_teacher.reset_index())
        labels.append(pd.concat(found, names=["source"]).reset_index().assign(**which))
        truth = train.clips.set_index("clip_id")["label"]
        for source, table in found.items():
            scores = cluster_quality(table["pseudo_label"], truth)
            quality.append({"task": corpus.name, "source": source, **which, **scores})
    return pd.concat(labels, ignore_index=True), quality, points[0]


def distil_students(
    teachers: Any, pseudo_labels: pd.DataFrame, corpus: Any, unfused: Unfused,
    encoder: EncoderParams, run: Run,
) -> tuple[Any, pd.DataFrame]:  # fmt: skip
    """Train the student: a randomly initialised encoder learns the pseudo-labels.

    Self-distillation (UnFuSeD): shallow exits of the network learn from its last layer.
    """
    from ...encoders.trained import EncoderCollection

    folders: dict[str, Any] = {}
    histories = []
    for source, repeat, labels in lessons(pseudo_labels, unfused.distillation.embeddings):
        name = f"{source}-{repeat.name}"
        model = estimator(corpus, teachers, repeat, unfused.pseudo_labels, run, name)
        model.set_params(**parameters_of(unfused.distillation, encoder))
        model.set_params(targets="embeddings" if labels.empty else "clusters")
        audio = corpus.for_training(repeat.fold, transductive=True).take(labels.index)
        facts = {"task": corpus.name, "source": source, "fold": repeat.fold}
        model.fit(audio, pseudo_labels=None if labels.empty else labels, facts=facts)
        folders |= {f"{name}/{kind}": model.folder_ / kind for kind in ("student", "full")}
        histories.append(model.history_.assign(source=source, **repeat._asdict()))
    history = pd.concat(histories, ignore_index=True).assign(task=corpus.name)
    return EncoderCollection(folders), history


def lessons(
    pseudo_labels: pd.DataFrame, embeddings: bool
) -> Iterator[tuple[str, Any, pd.DataFrame]]:
    """Yield what each student learns: its source, seed and fold, and the labels of its clips.

    Of each teacher, if its ``embeddings`` are learnt too, one more, which has no labels.
    """
    from ...core.repeats import Repeat

    for (source, seed, fold), table in pseudo_labels.groupby(["source", "seed", "fold"]):
        repeat, rows = Repeat(int(seed), int(fold)), table.set_index("clip_id")
        labels = rows.filter(like="pseudo_label").dropna(axis=1)
        yield source, repeat, labels
        if embeddings and source == "teacher":
            yield "embeddings", repeat, labels[[]]


def estimator(
    corpus: Any, teachers: Any, repeat: Any, clustering: PseudoLabels, run: Run, name: str
) -> Any:
    """Return the estimator of one repeat, told how to cluster.

    ``teachers`` are the encoders of a method, or the settings of a teacher from outside.
    """
    from ...distillation.unfused import UnFuSeD
    from ...embeddings.read_out import ReadOut

    outside = isinstance(teachers, dict)
    return UnFuSeD(
        teachers if outside else teachers.folder(teachers.matching(*repeat)),
        read_out=ReadOut(**clustering.read_out) if clustering.read_out else None,
        whiten=clustering.whiten,
        seed=repeat.seed,
        device=run.device,
        folder=run.outputs(corpus.name, "unfused", name),
    )


def parameters_of(distillation: Distillation, encoder: EncoderParams) -> dict[str, Any]:
    """Return how a student is trained as parameters of the estimator."""
    from ...training.estimator import flat

    return {
        **distillation.model_dump(exclude={"embeddings", "views", "training"}),
        **flat(distillation.training),
        "views": distillation.views.model_dump(),
        "encoder": encoder.name,
        "encoder_settings": encoder.settings,
    }
