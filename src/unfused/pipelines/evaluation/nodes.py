"""Evaluation on the true labels: linear probes, fine-tuning, training from scratch."""

from typing import Any

import pandas as pd

from ...params import Distillation, EncoderParams, Evaluation, FineTuning, Run
from ...workspace import Workspace, fingerprint


def evaluate_linear_probes(
    workspace: Workspace,
    teachers: Any,
    students: Any,
    store: Any,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    evaluation: Evaluation,
    distillation: Distillation,
    encoder: EncoderParams,
    run: Run,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Probe every encoder of every arm; teacher and random encoder at the student's cut too."""
    from ...arms import arms
    from ...evaluation.candidates import list_candidates
    from ...evaluation.linear_evaluation import evaluate_candidate
    from ...evaluation.task_data import TaskData

    task, found = TaskData(store, manifest, splits), []
    for arm in arms(run.seeds, task.folds):
        for candidate in list_candidates(teachers, students, arm, encoder, evaluation.cuts):
            mark = fingerprint("probe", candidate.digest, candidate.cuts, evaluation, arm, splits)

            def build(_: Any, candidate: Any = candidate, arm: Any = arm) -> dict[str, Any]:
                return evaluate_candidate(
                    candidate, task, arm, embedding=evaluation.embedding, device=run.device
                )

            found.append(workspace.tables(f"{candidate.name}-{arm.name}", mark, build, fresh=run.fresh))
    return _collect(found)
