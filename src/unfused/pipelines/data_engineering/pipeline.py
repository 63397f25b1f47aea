"""Wiring of the data-engineering pipeline: a stage with one namespace per corpus."""

from collections.abc import Sequence

from kedro.pipeline import Node, Pipeline

from . import nodes

SHARED = {"params:front_end", "params:extraction", "params:run"}


def create_pipeline(tasks: Sequence[str], pools: Sequence[str], demo: Sequence[str]) -> Pipeline:
    """Return the pipeline from audio to log-mel stores.

    Args:
        tasks: Names of the tasks.
        pools: Names of the unlabelled corpora.
        demo: Those of the tasks that use the rendered demo corpus.
    """
    corpora = [*tasks, *pools]
    parts = [_corpus(name, labelled=name in tasks, rendered=name in demo) for name in corpora]
    if demo:
        parts.append(_demo())
    return Pipeline(
        sum(parts, _study(corpora)),
        namespace="data_engineering",
        prefix_datasets_with_namespace=False,
    )


def _demo() -> Pipeline:
    return Pipeline(
        [
            Node(
                nodes.render_demo_corpus,
                ["demo_corpus_workspace", "params:demo"],
                "demo_corpus",
                name="render_demo_corpus",
            )
        ],
        tags=["data_engineering"],
    )


def _corpus(name: str, *, labelled: bool, rendered: bool) -> Pipeline:
    scan_labelled = nodes.scan_demo_audio if rendered else nodes.scan_task_audio
    scan = scan_labelled if labelled else nodes.scan_pool_audio
    source = ["params:source", "demo_corpus"] if rendered else ["params:source"]
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
        inputs={"demo_corpus"} if rendered else None,
        parameters={
            "params:source": f"params:{where}",
            **({"params:pseudo_labels": "params:unfused.pseudo_labels"} if labelled else {}),
            **{parameter: parameter for parameter in SHARED},
        },
        tags=["data_engineering"],
    )


def _study(corpora: Sequence[str]) -> Pipeline:
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
                ["pretraining_clips", *(f"{name}.log_mels" for name in corpora)],
                "normalisation_statistics",
                name="measure_statistics",
            ),
        ],
        tags=["data_engineering"],
    )
