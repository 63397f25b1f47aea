"""Wiring of the data-engineering pipeline: a stage with one namespace per corpus."""

from collections.abc import Mapping, Sequence

from kedro.pipeline import Pipeline

from ..node import node
from . import nodes


def create_pipeline(
    tasks: Sequence[str], pools: Sequence[str], rendered: Mapping[str, str]
) -> Pipeline:
    """Return the pipeline from audio to what encoders may be pre-trained on.

    ``rendered`` has those of the tasks that are rendered -> the rendered dataset.
    """
    parts = [_corpus(f"tasks.{name}", rendered.get(name)) for name in tasks]
    parts += [_corpus(f"pools.{name}") for name in pools]
    parts.append(_pretraining([f"{name}.corpus" for name in (*tasks, *pools)]))
    parts += [_demo(dataset) for dataset in sorted(set(rendered.values()))]
    return Pipeline(
        sum(parts, Pipeline([])),
        namespace="data_engineering",
        prefix_datasets_with_namespace=False,
        tags=["data_engineering"],
    )


def _demo(dataset: str) -> Pipeline:
    """Return the part that renders one of the demo's corpora."""
    return Pipeline([node(getattr(nodes, f"render_{dataset}"), "params:demo", dataset)])


def _corpus(entry: str, rendered: str | None = None) -> Pipeline:
    """Return the part of one corpus; ``entry`` is where its parameters are."""
    kind, name = entry.split(".")
    labelled = kind == "tasks"
    scan = nodes.scan_task_audio if labelled else nodes.scan_pool_audio
    split = nodes.split_task if labelled else nodes.split_pool
    clips = ["log_mels", "manifest", "rejected_audio"]
    known = ["params:source", "params:pseudo_labels"] if labelled else []
    return Pipeline(
        [
            node(
                scan,
                ["params:source", *([rendered] if rendered else [])],
                ["scanned_audio", "unreadable_audio"],
                name="scan_audio",
            ),
            node(
                nodes.extract_log_mels,
                ["scanned_audio", "unreadable_audio", "params:front_end", "params:extraction"],
                clips,
            ),
            node(split, [*clips, *known], ["corpus", "splits"], name="split_clips"),
        ],
        namespace=name,
        inputs={rendered} if rendered else None,
        parameters={
            "params:source": f"params:{entry}",
            "params:front_end": "params:front_end",
            "params:extraction": "params:extraction",
            **({"params:pseudo_labels": "params:unfused.pseudo_labels"} if labelled else {}),
        },
    )


def _pretraining(corpora: Sequence[str]) -> Pipeline:
    """Return what all methods share; k-mix runs whether or not one uses it, for it is cheap."""
    return Pipeline(
        [
            node(
                nodes.select_pretraining_clips,
                ["params:evaluation", "params:pretraining", *corpora],
                "pretraining_corpus",
            ),
            node(
                nodes.fit_kmix_centroids,
                ["pretraining_corpus", "params:k_mix", "params:run"],
                "kmix_centroids",
            ),
            node(
                nodes.fill_kmix_bank,
                ["pretraining_corpus", "kmix_centroids", "params:k_mix"],
                "kmix_bank",
            ),
            node(
                nodes.draw_example_views,
                ["pretraining_corpus", "kmix_centroids", "params:k_mix", "params:run"],
                "example_views",
            ),
        ]
    )
