"""Wiring of the report, over all tasks of the run."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kedro.pipeline import Pipeline

from ...reporting.names import OWN_DATA
from ..described_node import DescribedNode as Node
from . import nodes


def create_pipeline(
    tasks: Sequence[str],
    pools: Sequence[str],
    teacher: str,
    methods: Sequence[str],
    *,
    few_labels: bool = False,
    benchmark: bool = False,
) -> Pipeline:
    """Return the pipeline from result rows to the report.

    Args:
        tasks: Names of the tasks.
        pools: Names of the unlabelled corpora.
        teacher: Name of the method that made the pseudo-labels.
        methods: Names of the methods whose encoders were evaluated.
        few_labels: Whether label efficiency was measured.
        benchmark: Whether public data sets that are not there are listed.
    """
    shared = [*_tables(tasks), *_figures(tasks, teacher, methods), _report(tasks, few_labels)]
    shared += _few_labels(tasks) if few_labels else []
    if benchmark:
        shared.append(
            Node(nodes.list_missing_tasks, "params:tasks", "missing_tasks",
                 name="list_missing_tasks")
        )  # fmt: skip
    of_tasks = (_clusters(task) for task in tasks)
    return _stage(sum(of_tasks, Pipeline(shared))) + create_data_report(tasks, pools)


def create_data_report(tasks: Sequence[str], pools: Sequence[str]) -> Pipeline:
    """Return the pipeline from manifests to the data card and the list of rejected files.

    Args:
        tasks: Names of the tasks.
        pools: Names of the unlabelled corpora.
    """
    corpora = [*tasks, *pools]
    joins = [_join(nodes.join_corpora, name, corpora, _own(tasks))
             for name in ("data_card", "rejected_audio")]  # fmt: skip
    return _stage(sum((_describe(name) for name in corpora), Pipeline(joins)))


def create_comparison() -> Pipeline:
    """Return the pipeline from the results of all runs to one table."""
    node = Node(nodes.compare_runs, "runs", "run_comparison", name="compare_runs")
    return Pipeline([node], tags=["reporting"])


def _stage(parts: Pipeline) -> Pipeline:
    return Pipeline(
        parts, tags=["reporting"], namespace="reporting", prefix_datasets_with_namespace=False
    )


def _describe(corpus: str) -> Pipeline:
    given = ["manifest", "splits", "rejected_audio", "log_mels"]
    node = Node(nodes.describe_corpus, given, "data_card", name="describe_corpus")
    return Pipeline([node], namespace=corpus)


def _clusters(task: str) -> Pipeline:
    given = ["clustering_workspace", "cluster_features", "pseudo_labels", "manifest"]
    settings = {"params:report", "params:run"}
    placed = Node(
        nodes.place_clusters,
        [*given, "params:report", "params:run"],
        "tsne_points",
        name="place_clusters",
    )
    drawn = Node(
        nodes.draw_clusters,
        ["tsne_points", "pseudo_label_quality"],
        "tsne_pseudo_labels",
        name="draw_clusters",
    )
    return Pipeline([placed, drawn], namespace=task, parameters=settings)


def _join(
    function: Callable[..., Any], name: str, parts: Sequence[str], own: Mapping[str, str]
) -> Node:
    """Return the node that makes one table ``name`` of those of several tasks or corpora."""
    return Node(function, {**own, **_each(parts, name)}, name, name=f"join_{name}")


def _each(parts: Sequence[str], name: str) -> dict[str, str]:
    return {part: f"{part}.{name}" for part in parts}


def _own(tasks: Sequence[str]) -> dict[str, str]:
    """Return the input that says what one's own data are called, where they are the task."""
    return {"own": f"params:tasks.{OWN_DATA}"} if OWN_DATA in tasks else {}


def _tables(tasks: Sequence[str]) -> list[Node]:
    joined = ("results", "predictions", "pseudo_label_quality")
    found = {name: name for name in ("summary", "comparisons", "predictions")}
    return [
        *(_join(nodes.join_tasks, name, tasks, _own(tasks)) for name in joined),
        Node(
            nodes.summarise_results,
            ["results", "predictions", "params:evaluation", "params:teacher"],
            ["summary", "comparisons"],
            name="summarise_results",
        ),
        Node(
            nodes.find_weaknesses,
            {**_own(tasks), **found, **_each(tasks, "manifest")},
            "findings",
            name="find_weaknesses",
        ),
        Node(
            nodes.write_score_table,
            "summary",
            ["lape_table_csv", "lape_table_md", "lape_table_tex"],
            name="write_score_table",
        ),
        Node(
            nodes.record_parameters,
            ["parameters", "results"],
            "parameters_used",
            name="record_parameters",
        ),
    ]


def _figures(tasks: Sequence[str], teacher: str, methods: Sequence[str]) -> list[Node]:
    histories = {f"{method}_pretraining": f"{method}.history" for method in methods}
    for task in tasks:
        histories |= {f"{task}_{at}": f"{task}.{at}_history" for at in ("student", "supervised")}
    return [
        Node(
            nodes.draw_learning_curves,
            {**_own(tasks), **histories},
            "learning_curves",
            name="draw_learning_curves",
        ),
        Node(
            nodes.draw_augmentation_views,
            [
                *("normalisation_statistics", "kmix_centroids"),
                *(f"{tasks[0]}.splits", f"{tasks[0]}.manifest"),
                *(f"params:methods.{teacher}", f"{tasks[0]}.log_mels"),
            ],
            "augmentation_views",
            name="draw_augmentation_views",
        ),
        Node(
            nodes.draw_confusion,
            ["predictions", "findings"],
            list(_each(tasks, "confusion_matrix").values()),
            name="draw_confusion",
        ),
    ]


def _few_labels(tasks: Sequence[str]) -> list[Node]:
    return [
        _join(nodes.join_tasks, "label_efficiency", tasks, _own(tasks)),
        Node(
            nodes.summarise_label_efficiency,
            ["label_efficiency", "params:teacher"],
            "label_curves",
            name="summarise_label_efficiency",
        ),
        Node(
            nodes.draw_label_efficiency,
            "label_curves",
            "label_efficiency_curves",
            name="draw_label_efficiency",
        ),
    ]


def _report(tasks: Sequence[str], few_labels: bool) -> Node:
    figures = ["learning_curves", "augmentation_views"]
    figures = (["label_efficiency_curves"] if few_labels else []) + figures
    of_tasks = {f"confusion_of_{task}": f"{task}.confusion_matrix" for task in tasks}
    of_tasks |= {f"clusters_of_{task}": f"{task}.tsne_pseudo_labels" for task in tasks}
    tables = ("findings", "summary", "parameters", "comparisons", "data_card", *figures)
    return Node(
        nodes.write_report,
        {
            **{name: name for name in tables},
            **{"quality": "pseudo_label_quality", "rejected": "rejected_audio"},
            **of_tasks,
            **_own(tasks),
        },
        ["report", "closing_words"],
        name="write_report",
    )
