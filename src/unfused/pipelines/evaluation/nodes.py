"""Evaluation on the true labels: linear probes, fine-tuning, training from scratch."""

from typing import Any

import pandas as pd

from ...params import Distillation, EncoderParams, Evaluation, FineTuning, Run
from ...workspace import Workspace, fingerprint

TRUTH = ["clip_id", "label", "group"]  # of a manifest: files may move without changing a score


def evaluate_linear_probes(
    workspace: Workspace,
    store: Any,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    evaluation: Evaluation,
    distillation: Distillation,
    encoder: EncoderParams,
    run: Run,
    students: Any = None,
    **methods: Any,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Probe every encoder of every arm; whole encoders at the student's cut too."""
    from ...evaluation.linear_evaluation import ProbeSettings, evaluate_candidate
    from ...evaluation.task_data import TaskData

    task, found = TaskData(store, manifest, splits), []
    settings = ProbeSettings(evaluation.embedding, evaluation.transductive, run.device)
    for arm, candidate in _candidates(
        methods, students, task, evaluation, distillation, encoder, run
    ):
        known = candidate.digest, candidate.cuts, store.front_end
        mark = fingerprint("probe", *known, settings, arm, splits, manifest[TRUTH])

        def build(_: Any, candidate: Any = candidate, arm: Any = arm) -> dict[str, pd.DataFrame]:
            return evaluate_candidate(candidate, task, arm, settings)

        name = f"{candidate.name}-{arm.name}"
        found.append(workspace.tables(name, mark, build, fresh=run.fresh))
    return _joined(found, "results"), _joined(found, "predictions")


def train_supervised(
    workspace: Workspace,
    store: Any,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    evaluation: Evaluation,
    distillation: Distillation,
    encoder: EncoderParams,
    run: Run,
    students: Any = None,
    **methods: Any,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Train end to end on the true labels: chosen encoders, and random ones from scratch."""
    from ...evaluation.linear_evaluation import ProbeSettings
    from ...evaluation.supervised_evaluation import evaluate_supervised, plans
    from ...evaluation.task_data import TaskData

    task, found = TaskData(store, manifest, splits), []
    settings = ProbeSettings(transductive=evaluation.transductive, device=run.device)
    wanted = supervised_settings(evaluation.supervised)
    for arm, candidate in _candidates(
        methods, students, task, evaluation, distillation, encoder, run
    ):
        for plan in plans(candidate, evaluation.supervised.encoders, *wanted):
            known = candidate.digest, plan, store.front_end
            mark = fingerprint("supervised", *known, settings, arm, splits, manifest[TRUTH])

            def build(
                folder: Any, candidate: Any = candidate, arm: Any = arm, plan: Any = plan
            ) -> dict[str, pd.DataFrame]:
                return evaluate_supervised(folder, candidate, plan, task, arm, settings)

            name = f"{plan.label}-{arm.name}"
            found.append(workspace.tables(name, mark, build, fresh=run.fresh))
    return tuple(_joined(found, key) for key in ("results", "predictions", "history"))


def _candidates(
    methods: dict[str, Any],
    students: Any,
    task: Any,
    evaluation: Evaluation,
    distillation: Distillation,
    encoder: EncoderParams,
    run: Run,
) -> Any:
    from ...evaluation.candidates import candidates_by_arm

    cuts, cut = evaluation.cuts, distillation.cut
    return candidates_by_arm(methods, students, run.seeds, task.folds, encoder, cuts, cut)


def supervised_settings(supervised: FineTuning) -> tuple[Any, Any]:
    """Return the library's settings of fine-tuning and of training from scratch."""
    from ...evaluation.fine_tuning import FineTuningSettings
    from ...training.settings import TrainingSettings

    views = supervised.views.model_dump()
    fine_tuning, from_scratch = (
        TrainingSettings(**training.model_dump())
        for training in (supervised.fine_tuning, supervised.from_scratch)
    )
    return (
        FineTuningSettings(training=fine_tuning, views=views),
        FineTuningSettings(training=from_scratch, views=views, head="random"),
    )


def collect_task_results(
    linear: pd.DataFrame,
    linear_predictions: pd.DataFrame,
    supervised: pd.DataFrame,
    supervised_predictions: pd.DataFrame,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put all rows of one task together."""
    results = pd.concat([linear, supervised], ignore_index=True)
    predictions = pd.concat([linear_predictions, supervised_predictions], ignore_index=True)
    return results, predictions


def _joined(found: list[dict[str, pd.DataFrame]], key: str) -> pd.DataFrame:
    return pd.concat([tables[key] for tables in found], ignore_index=True)
