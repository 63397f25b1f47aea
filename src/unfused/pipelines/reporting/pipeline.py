"""Wiring of the report, over all tasks of the run."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kedro.pipeline import Pipeline

from ...reporting.naming import OWN_DATA
from ..described_node import DescribedNode as Node
from . import nodes

FIGURES = [
    "lape_scores",
    "tsne_pseudo_labels",
    "confusion_matrix",
    "learning_curves",
    "augmentation_views",
    "kmix_pairs",
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
    parts = [_place(task) for task in tasks] + [_listen(task) for task in tasks]
    joins = _task_joins(tasks) + (_few_labels(tasks) if few_labels else [])
    joins += _benchmark() if benchmark else []
    shown = [
        *FIGURES,
        *(["label_efficiency_curves"] if few_labels else []),
        *(["average_ranks"] if benchmark else []),
    ]
    figures = _figures(tasks, teacher, methods)
    shared = Pipeline([*joins, *_tables(), *figures, _record(), _report(shown)])
    return _stage(sum(parts, shared)) + create_data_report(tasks, pools)


def create_data_report(tasks: Sequence[str], pools: Sequence[str]) -> Pipeline:
    """Return the pipeline from manifests to the data card and the list of rejected files.

    Args:
        tasks: Names of the tasks.
        pools: Names of the unlabelled corpora.
    """
    corpora = [*tasks, *pools]
    joins = Pipeline(_corpus_joins(tasks, corpora))
    return _stage(sum((_describe(name) for name in corpora), joins))


def _stage(parts: Pipeline) -> Pipeline:
    return Pipeline(
        parts, tags=["reporting"], namespace="reporting", prefix_datasets_with_namespace=False
    )


def create_comparison() -> Pipeline:
    """Return the pipeline from the results of all runs to one table."""
    node = Node(nodes.compare_runs, "runs", "run_comparison", name="compare_runs")
    return Pipeline([node], tags=["reporting"])


def _describe(corpus: str) -> Pipeline:
    node = Node(
        nodes.describe_corpus,
        ["manifest", "splits", "rejected_audio", "log_mels"],
        "data_card",
        name="describe_corpus",
    )
    return Pipeline([node], namespace=corpus)


def _place(task: str) -> Pipeline:
    node = Node(
        nodes.place_clusters,
        [
            "clustering_workspace",
            "cluster_features",
            "pseudo_labels",
            "manifest",
            "params:report",
            "params:run",
        ],
        "tsne_points",
        name="place_clusters",
    )
    return Pipeline([node], namespace=task, parameters={"params:report", "params:run"})


def _listen(task: str) -> Pipeline:
    node = Node(
        nodes.pick_cluster_clips,
        ["cluster_features", "pseudo_labels", "manifest"],
        "cluster_clips",
        name="pick_cluster_clips",
    )
    return Pipeline([node], namespace=task)


def _task_joins(tasks: Sequence[str]) -> list[Node]:
    names = ("results", "predictions", "pseudo_label_quality")
    return [_join(nodes.join_tasks, name, tasks, _own(tasks)) for name in names]


def _corpus_joins(tasks: Sequence[str], corpora: Sequence[str]) -> list[Node]:
    names = ("data_card", "rejected_audio")
    return [_join(nodes.join_corpora, name, corpora, _own(tasks)) for name in names]


def _join(
    function: Callable[..., Any], name: str, parts: Sequence[str], own: Mapping[str, str]
) -> Node:
    """Return the node that makes one table ``name`` of those of several tasks or corpora."""
    tables = {part: f"{part}.{name}" for part in parts}
    return Node(function, {**own, **tables}, name, name=f"join_{name}")


def _record() -> Node:
    return Node(
        nodes.record_parameters,
        ["parameters", "results"],
        "parameters_used",
        name="record_parameters",
    )


def _own(tasks: Sequence[str]) -> dict[str, str]:
    """Return the input that says what one's own data are called, where they are the task."""
    return {"own": f"params:tasks.{OWN_DATA}"} if OWN_DATA in tasks else {}


def _tables() -> list[Node]:
    return [
        Node(
            nodes.summarise_results,
            ["results", "predictions", "params:evaluation", "params:teacher"],
            ["summary", "comparisons"],
            name="summarise_results",
        ),
        Node(
            nodes.write_lape_table,
            "summary",
            ["lape_table_csv", "lape_table_md", "lape_table_tex"],
            name="write_lape_table",
        ),
    ]


def _figures(tasks: Sequence[str], teacher: str, methods: Sequence[str]) -> list[Node]:
    histories = {
        **_own(tasks),
        **{f"{method}_pretraining": f"{method}.history" for method in methods},
        **{
            f"{task}_{stage}": f"{task}.{stage}_history"
            for task in tasks
            for stage in ("student", "supervised")
        },
    }
    first = tasks[0]
    return [
        Node(nodes.draw_scores, "summary", "lape_scores", name="draw_scores"),
        Node(
            nodes.draw_pseudo_labels,
            {
                **_own(tasks),
                "quality": "pseudo_label_quality",
                **{task: f"{task}.tsne_points" for task in tasks},
            },
            "tsne_pseudo_labels",
            name="draw_pseudo_labels",
        ),
        Node(
            nodes.show_cluster_clips,
            {**_own(tasks), **{task: f"{task}.cluster_clips" for task in tasks}},
            "cluster_players",
            name="show_cluster_clips",
        ),
        Node(
            nodes.draw_learning_curves,
            histories,
            "learning_curves",
            name="draw_learning_curves",
        ),
        Node(
            nodes.draw_augmentation_views,
            [
                "normalisation_statistics",
                "kmix_centroids",
                f"{first}.splits",
                f"{first}.manifest",
                f"params:methods.{teacher}",
                f"{first}.log_mels",
            ],
            "augmentation_views",
            name="draw_augmentation_views",
        ),
        Node(nodes.draw_kmix_pairs, "example_views", "kmix_pairs", name="draw_kmix_pairs"),
        Node(nodes.draw_confusion, "predictions", "confusion_matrix", name="draw_confusion"),
    ]


def _benchmark() -> list[Node]:
    return [
        Node(
            nodes.rank_methods,
            ["summary", "predictions", "params:evaluation", "params:teacher"],
            ["encoder_ranking", "method_comparisons"],
            name="rank_methods",
        ),
        Node(nodes.draw_ranks, "encoder_ranking", "average_ranks", name="draw_ranks"),
        Node(nodes.list_missing_tasks, "params:tasks", "missing_tasks", name="list_missing_tasks"),
    ]


def _few_labels(tasks: Sequence[str]) -> list[Node]:
    return [
        _join(nodes.join_tasks, "label_efficiency", tasks, _own(tasks)),
        Node(
            nodes.summarise_label_efficiency,
            ["label_efficiency", "params:teacher"],
            ["label_curves", "labels_saved"],
            name="summarise_label_efficiency",
        ),
        Node(
            nodes.draw_label_efficiency,
            "label_curves",
            "label_efficiency_curves",
            name="draw_label_efficiency",
        ),
    ]


def _report(figures: Sequence[str]) -> Node:
    return Node(
        nodes.write_report,
        {
            "summary": "summary",
            "comparisons": "comparisons",
            "quality": "pseudo_label_quality",
            "data_card": "data_card",
            "rejected": "rejected_audio",
            "parameters": "parameters",
            "report": "params:report",
            "cluster_players": "cluster_players",
            **{name: name for name in figures},
        },
        ["report", "closing_words"],
        name="write_report",
    )
