"""Wiring of the data-engineering pipeline: a stage with one namespace per corpus."""

from collections.abc import Sequence

from kedro.pipeline import Pipeline

from ...params import Study
from ..node import node, stage
from . import nodes


def create_pipeline(study: Study) -> Pipeline:
    """Return the pipeline from audio to what encoders may be pre-trained on."""
    parts = [_corpus(f"tasks.{name}", study.rendered.get(name)) for name in study.tasks]
    parts += [_corpus(f"pools.{name}", study.rendered.get(name)) for name in study.pools]
    parts.append(_pretraining([f"{name}.corpus" for name in (*study.tasks, *study.pools)]))
    for dataset in sorted(set(study.rendered.values())):
        parts.append(Pipeline([node(getattr(nodes, f"render_{dataset}"), "params:demo", dataset)]))
    return stage("data_engineering", sum(parts, Pipeline([])), "data_engineering")


def _corpus(entry: str, rendered: str | None = None) -> Pipeline:
    """Return the part of one corpus; ``entry`` is where its parameters are."""
    kind, name = entry.split(".")
    labelled = kind == "tasks"
    scan = nodes.scan_task_audio if labelled else nodes.scan_pool_audio
    split = nodes.split_task if labelled else nodes.split_pool
    audio, clips = ["scanned_audio", "unreadable_audio"], ["log_mels", "manifest", "rejected_audio"]
    known = ["params:source", "params:pseudo_labels"] if labelled else []
    how = ["params:front_end", "params:extraction"]
    place = ["params:source", *([rendered] if rendered else [])]
    return Pipeline(
        [
            node(scan, place, audio, name="scan_audio"),
            node(nodes.extract_log_mels, [*audio, *how], clips),
            node(split, [*clips, *known], ["corpus", "splits"], name="split_clips"),
        ],
        namespace=name,
        inputs={rendered} if rendered else None,
        parameters={
            **{"params:source": f"params:{entry}", **{name: name for name in how}},
            **({"params:pseudo_labels": "params:unfused.pseudo_labels"} if labelled else {}),
        },
    )


def _pretraining(corpora: Sequence[str]) -> Pipeline:
    """Return what all methods share; k-mix runs whether or not one uses it, for it is cheap."""
    selected = ["params:evaluation", "params:pretraining", *corpora]
    shared, how = ["pretraining_corpus", "kmix_centroids"], ["params:k_mix", "params:run"]
    return Pipeline(
        [
            node(nodes.select_pretraining_clips, selected, "pretraining_corpus"),
            node(nodes.fit_kmix_centroids, ["pretraining_corpus", *how], "kmix_centroids"),
            node(nodes.draw_example_views, [*shared, *how], "example_views"),
        ]
    )
