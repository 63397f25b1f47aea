"""Wiring of the report, over all tasks of the run."""

from collections.abc import Sequence
from typing import Any

from kedro.pipeline import Node, Pipeline

from ..node import node
from . import nodes

FIGURES = [
    *("lape_scores", "tsne_pseudo_labels", "confusion_matrix", "learning_curves"),
    *("augmentation_views", "kmix_pairs"),
]


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
        benchmark: Whether methods are compared with each other, over all tasks.
    """
    figures = [
        *FIGURES,
        *(["label_efficiency_curves"] if few_labels else []),
        *(["average_ranks"] if benchmark else []),
    ]
    shared = [
        *(_join(name, tasks) for name in ("results", "predictions", "pseudo_label_quality")),
        *(_few_labels(tasks) if few_labels else []),
        *(_benchmark() if benchmark else []),
        *_tables(),
        *_figures(tasks, teacher, methods),
        _report(figures),
    ]
    parts = [_of_task(task) for task in tasks]
    return _stage(sum(parts, Pipeline(shared))) + create_data_report(tasks, pools)


def create_data_report(tasks: Sequence[str], pools: Sequence[str]) -> Pipeline:
    """Return the pipeline from corpora to the data card and the list of rejected files.

    Args:
        tasks: Names of the tasks.
        pools: Names of the unlabelled corpora.
    """
    corpora = [*tasks, *pools]
    rejected = [f"{name}.corpus" for name in corpora]
    joins = Pipeline(
        [
            _join("data_card", corpora),
            node(nodes.list_rejected_audio, rejected, "rejected_audio"),
        ]
    )
    cards = [
        Pipeline([node(nodes.describe_corpus, "corpus", "data_card")], namespace=name)
        for name in corpora
    ]
    return _stage(sum(cards, joins))


def create_comparison() -> Pipeline:
    """Return the pipeline from the results of all runs to one table."""
    return Pipeline([node(nodes.compare_runs, "runs", "run_comparison", tags=["reporting"])])


def _stage(parts: Pipeline) -> Pipeline:
    return Pipeline(
        parts, tags=["reporting"], namespace="reporting", prefix_datasets_with_namespace=False
    )


def _of_task(task: str) -> Pipeline:
    """Return what is drawn of one task's clusters."""
    clusters = ["cluster_features", "pseudo_labels", "corpus"]
    return Pipeline(
        [
            node(nodes.place_clusters, [*clusters, "params:report", "params:run"], "tsne_points"),
            node(
                nodes.pick_cluster_clips,
                clusters,
                ["cluster_clips", "cluster_players"],
            ),
        ],
        namespace=task,
        parameters={
            "params:report": "params:report",
            "params:run": "params:run",
        },
    )


def _join(name: str, parts: Sequence[str]) -> Node:
    """Return the node that makes one table ``name`` of those of several tasks or corpora."""
    tables = [f"{part}.{name}" for part in parts]
    return node(nodes.join_tables, tables, name, name=f"join_{name}")


def _tables() -> list[Node]:
    known = ["params:evaluation", "params:teacher"]
    return [
        node(
            nodes.summarise_results, ["results", "predictions", *known], ["summary", "comparisons"]
        ),
        node(
            nodes.write_lape_table,
            "summary",
            ["lape_table_csv", "lape_table_md", "lape_table_tex"],
        ),
        node(nodes.record_parameters, ["parameters", "results"], "parameters_used"),
    ]


def _figures(tasks: Sequence[str], teacher: str, methods: Sequence[str]) -> list[Node]:
    histories: dict[str, Any] = {method: f"{method}.history" for method in methods}
    for task in tasks:
        histories[f"{task}_student"] = f"{task}.student_history"
        histories[f"{task}_supervised"] = f"{task}.supervised_history"
    points = [f"{task}.tsne_points" for task in tasks]
    players = [f"{task}.cluster_players" for task in tasks]
    views = ["pretraining_corpus", "kmix_centroids", f"{tasks[0]}.corpus"]
    return [
        node(nodes.draw_scores, "summary", "lape_scores"),
        node(nodes.draw_pseudo_labels, ["pseudo_label_quality", *points], "tsne_pseudo_labels"),
        node(nodes.join_cluster_players, players, "cluster_players"),
        node(nodes.draw_learning_curves, histories, "learning_curves"),
        node(
            nodes.draw_augmentation_views,
            [*views, f"params:methods.{teacher}"],
            "augmentation_views",
        ),
        node(nodes.draw_confusion, "predictions", "confusion_matrix"),
    ]


def _benchmark() -> list[Node]:
    known = ["params:evaluation", "params:teacher"]
    return [
        node(
            nodes.rank_methods,
            ["summary", "predictions", *known],
            ["encoder_ranking", "method_comparisons"],
        ),
        node(nodes.draw_ranks, "encoder_ranking", "average_ranks"),
        node(nodes.list_missing_tasks, "params:tasks", "missing_tasks"),
    ]


def _few_labels(tasks: Sequence[str]) -> list[Node]:
    return [
        _join("label_efficiency", tasks),
        node(
            nodes.summarise_label_efficiency,
            ["label_efficiency", "params:teacher"],
            ["label_curves", "labels_saved"],
        ),
        node(nodes.draw_label_efficiency, "label_curves", "label_efficiency_curves"),
    ]


def _report(figures: Sequence[str]) -> Node:
    tables = {
        "quality": "pseudo_label_quality",
        "rejected": "rejected_audio",
        **{name: name for name in ("summary", "comparisons", "data_card", "cluster_players")},
    }
    given = {"parameters": "parameters", "report": "params:report"}
    pictures = {name: name for name in figures}
    return node(nodes.write_report, {**tables, **given, **pictures}, ["report", "closing_words"])
