"""Wiring of the data-engineering pipeline: a stage with one namespace per corpus."""

from collections.abc import Mapping, Sequence

from kedro.pipeline import Pipeline

from ..described_node import DescribedNode as Node
from . import nodes

RENDERED = {"demo": "demo_corpus", "demo_mixtures": "demo_mixtures"}
"""What a task's ``audio`` may say instead of a place -> the dataset that is rendered for it."""
SHARED = {"params:front_end", "params:extraction", "params:run"}


def create_pipeline(
    tasks: Sequence[str], pools: Sequence[str], rendered: Mapping[str, str]
) -> Pipeline:
    """Return the pipeline from audio to log-mel stores.

    Args:
        tasks: Names of the tasks.
        pools: Names of the unlabelled corpora.
        rendered: Those of the tasks that are rendered -> the rendered dataset.
    """
    corpora = [*tasks, *pools]
    parts = [_corpus(name, labelled=name in tasks, rendered=rendered.get(name)) for name in corpora]
    if rendered:
        parts.append(_demo(mixtures="demo_mixtures" in rendered.values()))
    return Pipeline(
        sum(parts, _study(corpora)),
        namespace="data_engineering",
        prefix_datasets_with_namespace=False,
    )


def _demo(*, mixtures: bool) -> Pipeline:
    notes = Node(
        nodes.render_demo_corpus,
        ["demo_corpus_workspace", "params:demo"],
        "demo_corpus",
        name="render_demo_corpus",
    )
    mixed = Node(
        nodes.render_demo_mixtures,
        ["demo_mixtures_workspace", "demo_corpus", "params:demo"],
        "demo_mixtures",
        name="render_demo_mixtures",
    )
    return Pipeline([notes, *([mixed] if mixtures else [])], tags=["data_engineering"])


def _corpus(name: str, *, labelled: bool, rendered: str | None) -> Pipeline:
    scan_labelled = nodes.scan_demo_audio if rendered else nodes.scan_task_audio
    scan = scan_labelled if labelled else nodes.scan_pool_audio
    source = ["params:source", *([rendered] if rendered else [])]
    split = (
        Node(
            nodes.assign_task_splits,
            ["manifest", "params:source", "params:pseudo_labels"],
            "splits",
            name="assign_splits",
        )
        if labelled
        else Node(nodes.assign_pool_splits, ["manifest"], "splits", name="assign_splits")
    )
    template = [
        Node(scan, source, ["scanned_audio", "unreadable_audio"], name="scan_audio"),
        Node(
            nodes.extract_log_mels,
            [
                "log_mel_workspace",
                "scanned_audio",
                "unreadable_audio",
                "params:front_end",
                "params:extraction",
                "params:run",
            ],
            ["log_mels", "manifest", "rejected_audio"],
            name="extract_log_mels",
        ),
        split,
    ]
    where = f"tasks.{name}" if labelled else f"pools.{name}"
    return Pipeline(
        template,
        namespace=name,
        inputs={rendered} if rendered else None,
        parameters={
            "params:source": f"params:{where}",
            **({"params:pseudo_labels": "params:unfused.pseudo_labels"} if labelled else {}),
            **{parameter: parameter for parameter in SHARED},
        },
        tags=["data_engineering"],
    )


def _study(corpora: Sequence[str]) -> Pipeline:
    stores = [f"{name}.log_mels" for name in corpora]
    return Pipeline(
        [
            Node(
                nodes.select_pretraining_clips,
                {
                    "evaluation": "params:evaluation",
                    "pretraining": "params:pretraining",
                    **{name: f"{name}.splits" for name in corpora},
                },
                "pretraining_clips",
                name="select_pretraining_clips",
            ),
            Node(
                nodes.measure_statistics,
                ["pretraining_clips", *stores],
                "normalisation_statistics",
                name="measure_statistics",
            ),
            *_k_mix(stores),
        ],
        tags=["data_engineering"],
    )


def _k_mix(stores: Sequence[str]) -> list[Node]:
    """Return the nodes of k-mix; they run whether or not a method uses it, for they are cheap."""
    clips = ["pretraining_clips", "normalisation_statistics", "kmix_centroids"]
    return [
        Node(
            nodes.fit_kmix_centroids,
            ["kmix_workspace", "pretraining_clips", "params:k_mix", "params:run", *stores],
            "kmix_centroids",
            name="fit_kmix_centroids",
        ),
        Node(
            nodes.fill_kmix_bank,
            [*clips, "params:k_mix", *stores],
            "kmix_bank",
            name="fill_kmix_bank",
        ),
        Node(
            nodes.draw_example_views,
            [*clips, "params:k_mix", *stores],
            "example_views",
            name="draw_example_views",
        ),
    ]
