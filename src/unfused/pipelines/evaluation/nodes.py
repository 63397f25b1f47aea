"""Evaluation on the true labels: linear probes, fine-tuning, training from scratch."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...params import Distillation, EncoderParams, Evaluation, FineTuning, Run

TRUTH = ["clip_id", "label", "group"]  # of the clips: files may move without changing a score


def list_candidates(
    corpus: Any,
    students: Any,
    evaluation: Evaluation,
    distillation: Distillation,
    encoder: EncoderParams,
    run: Run,
    **methods: Any,
) -> list:
    """List the encoders that are compared: baselines, methods, students and their controls."""
    from ...core.repeats import repeats
    from ...probes.candidates import list_candidates as listed

    return listed(
        methods,
        students,
        repeats(run.seeds, corpus.folds),
        encoder=encoder.name,
        encoder_settings=encoder.settings,
        cuts=evaluation.cuts,
        student_cut=distillation.cut,
        embedding=evaluation.embedding,
    )


def embed_clips(candidates: list, corpus: Any, run: Run) -> dict[str, Path]:
    """Embed the labelled clips with every encoder, once; whole ones at the student's cut too."""
    from ...core.progress import progress
    from ...core.source import source_digest
    from ...probes.embedding_cache import embed_candidate

    clips, folders = corpus.labelled, {}
    known = {"corpus": clips.mark, "source": source_digest("embeddings.embed", "encoders")}
    for candidate in progress(candidates, total=len(candidates), desc="embedding", unit="encoder"):
        drawn = [candidate.seed] if candidate.embedding == "random_crop" else []
        what = {"encoder": candidate.digest, "cuts": candidate.cuts, "of": candidate.embedding}

        def build(folder: Path, of: Any = candidate) -> None:
            embed_candidate(folder, of, corpus.store, np.sort(clips.rows), device=run.device)

        outputs = run.outputs(corpus.name, "embeddings")
        made_of = {**known, **what, "drawn": drawn}
        folders[candidate.key] = outputs.built(candidate.name, made_of, build)
    return folders


def probe_encoders(
    candidates: list, embeddings: dict[str, Path], corpus: Any, evaluation: Evaluation, run: Run
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Probe every frozen encoder of every repeat."""
    from ...core.progress import progress
    from ...core.source import source_digest
    from ...probes.embedding_cache import ClipEmbeddings
    from ...probes.frozen_evaluation import evaluate_frozen

    task, found = task_data(corpus), []
    how: dict[str, Any] = {
        name: getattr(evaluation, name) for name in ("protocols", "transductive")
    }
    source = source_digest("probes.frozen_evaluation")
    for candidate in progress(candidates, total=len(candidates), desc="probing", unit="encoder"):
        folder = embeddings[candidate.key]
        made_of = {**how, **truth(corpus), "repeat": candidate.repeat, "of": folder.name}

        def build(_: Path, of: Any = candidate, given: Path = folder) -> dict[str, pd.DataFrame]:
            facts = {"embedding": of.embedding}
            return evaluate_frozen(of, ClipEmbeddings(given), task, of.repeat, facts=facts, **how)

        outputs = run.outputs(corpus.name, "probes")
        found.append(outputs.tables(candidate.key, {**made_of, "source": source}, build))
    return joined(found, "results", corpus), joined(found, "predictions", corpus)


def fine_tune_encoders(
    candidates: list, corpus: Any, evaluation: Evaluation, run: Run
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, dict[str, Path]]:
    """Train end to end on the true labels: chosen encoders, and random ones from scratch."""
    from ...core.source import source_digest
    from ...probes.supervised_evaluation import NETWORK, evaluate_supervised, plans

    task, found, networks = task_data(corpus), [], {}
    how: dict[str, Any] = {"transductive": evaluation.transductive, "device": run.device}
    known = {**truth(corpus), "transductive": evaluation.transductive}
    known["source"] = source_digest("probes.supervised_evaluation")
    wanted, outputs = (
        supervised_settings(evaluation.supervised),
        run.outputs(corpus.name, "networks"),
    )
    for candidate in candidates:
        for plan in plans(candidate, evaluation.supervised.encoders, *wanted):
            name = f"{plan.label}-{candidate.repeat.name}"
            made_of = {
                **known,
                "encoder": candidate.digest,
                "plan": plan,
                "repeat": candidate.repeat,
            }

            def build(folder: Path, of: Any = (candidate, plan)) -> None:
                candidate, plan = of
                tables = evaluate_supervised(folder, candidate, plan, task, candidate.repeat, **how)
                for key, table in tables.items():
                    table.to_parquet(folder / f"{key}.parquet")

            folder = outputs.built(name, made_of, build)
            networks[name] = folder / NETWORK
            found.append({file.stem: pd.read_parquet(file) for file in folder.glob("*.parquet")})
    tables = [joined(found, key, corpus) for key in ("results", "predictions", "history")]
    return tables[0], tables[1], tables[2], networks


def measure_label_efficiency(
    candidates: list, embeddings: dict[str, Path], corpus: Any, evaluation: Evaluation, run: Run
) -> pd.DataFrame:
    """Score chosen encoders after learning from few labels, for every budget and draw."""
    from ...core.source import source_digest
    from ...probes.label_efficiency import COLUMNS

    outputs, found = run.outputs(corpus.name, "few_labels"), []
    known = {**truth(corpus), "source": source_digest("probes.label_efficiency")}
    known["asked"] = evaluation.label_efficiency.model_dump(include={"budgets", "draws"})
    known["transductive"] = evaluation.transductive
    for candidate in candidates:
        embedded, task = embeddings[candidate.key], task_data(corpus)
        for name, made_of, rows in few_label_work(candidate, embedded, task, evaluation, run):

            def build(folder: Path, rows: Any = rows) -> dict[str, pd.DataFrame]:
                return {"rows": rows(folder)}

            found.append(outputs.tables(name, {**known, **made_of}, build))
    return joined(found, "rows", corpus) if found else pd.DataFrame(columns=[*COLUMNS, "task"])


def few_label_work(
    candidate: Any, embedded: Path, task: Any, evaluation: Evaluation, run: Run
) -> Iterator[tuple[str, dict[str, Any], Callable[[Path], pd.DataFrame]]]:
    """Yield name, ingredients and making of each table of scores with few labels."""
    from ...probes import label_efficiency as few
    from ...probes.embedding_cache import ClipEmbeddings
    from ...probes.supervised_evaluation import plans

    asked, repeat = evaluation.label_efficiency, candidate.repeat
    how = few.EfficiencySettings(asked.parsed(), asked.draws, evaluation.transductive, run.device)
    for protocol in asked.protocols if asked.takes(candidate.label, candidate.source) else ():
        given = candidate, ClipEmbeddings(embedded), task, repeat, protocol, how

        def probe(_: Path, given: Any = given) -> pd.DataFrame:
            return few.probe_with_few_labels(*given)

        made_of = {"protocol": protocol, "embeddings": embedded.name, "repeat": repeat}
        yield f"{candidate.key}-{protocol}", made_of, probe
    wanted = supervised_settings(evaluation.supervised)
    for plan in plans(candidate, asked.fine_tuning, *wanted) if asked.fine_tuning else ():
        start: dict[str, Any] = {
            "candidate": candidate,
            "plan": plan,
            "task": task,
            "repeat": repeat,
        }
        tune = partial(few.train_with_few_labels, **start, settings=how)
        made_of = {"plan": plan, "encoder": candidate.digest, "repeat": repeat}
        yield f"{plan.label}-{repeat.name}", made_of, tune


def collect_results(
    frozen: pd.DataFrame,
    frozen_predictions: pd.DataFrame,
    supervised: pd.DataFrame,
    supervised_predictions: pd.DataFrame,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put all rows of one task together."""
    results = pd.concat([frozen, supervised], ignore_index=True)
    predictions = pd.concat([frozen_predictions, supervised_predictions], ignore_index=True)
    return results, predictions


def supervised_settings(supervised: FineTuning) -> tuple[Any, Any]:
    """Return the library's settings of fine-tuning and of training from scratch."""
    from ...probes.fine_tuning import FineTuningSettings

    shared: dict[str, Any] = supervised.model_dump(
        exclude={"encoders", "head", "fine_tuning", "from_scratch"}
    )
    return (
        FineTuningSettings(training=supervised.fine_tuning, head=supervised.head, **shared),
        FineTuningSettings(training=supervised.from_scratch, head="random", **shared),
    )


def task_data(corpus: Any) -> Any:
    """Return a corpus as the probes take it."""
    from ...tasks.task_data import TaskData

    return TaskData(corpus.store, corpus.clips, corpus.splits)


def truth(corpus: Any) -> dict[str, Any]:
    """Return what scores depend on besides encoders: which clips, their parts and labels."""
    return {"corpus": corpus.mark, "splits": corpus.splits, "truth": corpus.clips[TRUTH]}


def joined(found: list[dict[str, pd.DataFrame]], key: str, corpus: Any) -> pd.DataFrame:
    """Put tables of several encoders together, and name the task."""
    return pd.concat([tables[key] for tables in found], ignore_index=True).assign(task=corpus.name)
