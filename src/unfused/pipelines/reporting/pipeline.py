"""Wiring of the report, over all tasks of the run."""

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from ...params import Study
from ..node import node, stage
from . import nodes


def create_pipeline(study: Study) -> Pipeline:
    """Return the pipeline from result rows to the report.

    Of a benchmark, public data sets that are not there are listed too.
    """
    shared = [*_tables(study.tasks), *_figures(study), _report(study)]
    shared += _few_labels(study.tasks) if study.few_labels else []
    if study.benchmark:
        shared.append(node(nodes.list_missing_tasks, "params:tasks", "missing_tasks"))
    parts = sum((_clusters(task) for task in study.tasks), Pipeline(shared))
    return stage("reporting", parts, "reporting") + create_data_report(study)


def create_data_report(study: Study) -> Pipeline:
    """Return the pipeline from corpora to the data card and the list of rejected files."""
    corpora = [*study.tasks, *study.pools]
    rejected = node(nodes.list_rejected_audio, _each(corpora, "corpus"), "rejected_audio")
    cards = [
        Pipeline([node(nodes.describe_corpus, "corpus", "data_card")], namespace=name)
        for name in corpora
    ]
    parts = sum(cards, Pipeline([_join("data_card", corpora), rejected]))
    return stage("reporting", parts, "reporting")


def create_comparison() -> Pipeline:
    """Return the pipeline from the results of all runs to one table."""
    return Pipeline([node(nodes.compare_runs, "runs", "run_comparison", tags=["reporting"])])


def _clusters(task: str) -> Pipeline:
    given = ["cluster_features", "pseudo_labels", "corpus", "params:report", "params:run"]
    shown = ["tsne_points", "pseudo_label_quality", "params:run"]
    place = node(nodes.place_clusters, given, "tsne_points")
    draw = node(nodes.draw_clusters, shown, "tsne_pseudo_labels")
    return Pipeline([place, draw], namespace=task, parameters={"params:report", "params:run"})


def _join(name: str, parts: Sequence[str]) -> Node:
    """Return the node that makes one table ``name`` of those of several tasks or corpora."""
    return node(nodes.join_tables, _each(parts, name), name, name=f"join_{name}")


def _each(parts: Sequence[str], name: str) -> list[str]:
    return [f"{part}.{name}" for part in parts]


def _tables(tasks: Sequence[str]) -> list[Node]:
    how = ["params:evaluation", "params:teacher", "params:run"]
    found = ["summary", "comparisons"]
    written = ["lape_table_csv", "lape_table_md", "lape_table_tex"]
    return [
        *(_join(name, tasks) for name in ("results", "predictions", "pseudo_label_quality")),
        node(nodes.summarise_results, ["results", "predictions", *how], found),
        node(nodes.find_weaknesses, [*found, "predictions", *_each(tasks, "corpus")], "findings"),
        node(nodes.write_score_table, "summary", written),
        node(nodes.record_parameters, ["parameters", "results"], "parameters_used"),
    ]


def _figures(study: Study) -> list[Node]:
    tasks, run = study.tasks, "params:run"
    histories = {method: f"{method}.history" for method in study.compared}
    for task in tasks:
        histories |= {f"{task}_{at}": f"{task}.{at}_history" for at in ("student", "supervised")}
    audio = ["pretraining_corpus", "kmix_centroids", f"{tasks[0]}.corpus"]
    confusions, views = _each(tasks, "confusion_matrix"), "augmentation_views"
    return [
        node(nodes.draw_learning_curves, {"run": run, **histories}, "learning_curves"),
        node(nodes.draw_augmentation_views, [*audio, study.shown_training, run], views),
        node(nodes.draw_confusion, ["predictions", "findings", run], confusions),
    ]


def _few_labels(tasks: Sequence[str]) -> list[Node]:
    scores, curves = ["label_efficiency", "params:teacher"], ["label_curves", "params:run"]
    return [
        _join("label_efficiency", tasks),
        node(nodes.summarise_label_efficiency, scores, "label_curves"),
        node(nodes.draw_label_efficiency, curves, "label_efficiency_curves"),
    ]


def _report(study: Study) -> Node:
    figures = ["learning_curves", "augmentation_views"]
    figures += ["label_efficiency_curves"] if study.few_labels else []
    tables = ("findings", "summary", "parameters", "comparisons", "data_card", *figures)
    given = {**{name: name for name in tables}, "quality": "pseudo_label_quality"}
    given["rejected"] = "rejected_audio"
    for number, task in enumerate(study.tasks):
        given[f"confusion_of_{number}"] = f"{task}.confusion_matrix"
        given[f"clusters_of_{number}"] = f"{task}.tsne_pseudo_labels"
    return node(nodes.write_report, given, ["report", "closing_words"])
