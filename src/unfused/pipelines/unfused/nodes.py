"""UnFuSeD on one task: pseudo-labels from its audio, self-distillation of a random encoder."""

from typing import Any

import pandas as pd

from ...params import Distillation, EncoderParams, Evaluation, PseudoLabels, Run


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
        train = corpus.part("train", repeat.fold)
        model = estimator(corpus, teachers, repeat, clustering, run, repeat.name)
        model.set_params(n_clusters=clustering.n_clusters or len(train.classes))
        found, of_teacher = labels_by_source(model, audio, train, clustering.controls)
        points.append(of_teacher.reset_index())
        for source, table in found.items():
            keys = {"source": source, **repeat._asdict()}
            labels.append(table.reset_index().assign(**keys))
            truth = train.clips.set_index("clip_id")["label"]
            scores = cluster_quality(table["pseudo_label"], truth)
            quality.append({"task": corpus.name, **keys, **scores})
    return pd.concat(labels, ignore_index=True), quality, points[0]


def distil_students(
    teachers: Any,
    pseudo_labels: pd.DataFrame,
    corpus: Any,
    clustering: PseudoLabels,
    distillation: Distillation,
    evaluation: Evaluation,
    encoder: EncoderParams,
    run: Run,
) -> tuple[Any, pd.DataFrame]:
    """Train the student: a randomly initialised encoder learns the pseudo-labels.

    Self-distillation (UnFuSeD): shallow exits of the network learn from its last layer. One student
    for every seed, fold and source of pseudo-labels, and one on the teacher's embeddings if asked.
    """
    from ...core.repeats import Repeat
    from ...encoders.collection import EncoderCollection

    learnt: list[Any] = list(pseudo_labels.groupby(["source", "seed", "fold"]))
    if distillation.embeddings:
        learnt += [(("embeddings", *key), None) for (who, *key), _ in learnt if who == "teacher"]
    folders, histories = {}, []
    for (source, seed, fold), table in learnt:
        repeat = Repeat(int(seed), int(fold))
        name = f"{source}-{repeat.name}"
        model = estimator(corpus, teachers, repeat, clustering, run, name)
        model.set_params(**parameters_of(distillation, encoder))
        audio = corpus.for_training(repeat.fold, transductive=evaluation.transductive)
        facts = {"task": corpus.name, "source": source, "fold": repeat.fold}
        if table is None:
            model.set_params(targets="embeddings").fit(audio, facts=facts)
        else:
            labels = table.set_index("clip_id").filter(like="pseudo_label").dropna(axis=1)
            model.fit(audio, pseudo_labels=labels, facts=facts)
        for kind in ("student", "full"):
            folders[f"{name}/{kind}"] = model.folder_ / kind
        histories.append(model.history_.assign(source=source, **repeat._asdict()))
    history = pd.concat(histories, ignore_index=True).assign(task=corpus.name)
    return EncoderCollection(folders), history


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
