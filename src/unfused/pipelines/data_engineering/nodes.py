"""From audio files to a validated manifest, a log-mel store, splits and statistics."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from ...params import Audio, Demo, Evaluation, Extraction, FrontEndParams, Run, Task
from ...workspace import Workspace

AUDIO_KEY = ["clip_id", "digest", "offset", "frames"]


def render_demo_corpus(workspace: Workspace, demo: Demo) -> Path:
    """Render the demo corpus, or what is missing of it."""
    from ...tasks.demo_corpus import render_demo_corpus as render

    render(workspace.path, n_notes=demo.n_notes, seconds=demo.seconds)
    return workspace.path


def scan_demo_audio(source: Audio, demo_corpus: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the headers of the demo corpus."""
    return scan_audio(source.model_copy(update={"audio": str(demo_corpus)}))


def scan_audio(source: Audio) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the headers of a corpus's files; list what can be used and what cannot, with reasons."""
    from ...audio.manifest import scan_audio as scan

    given = [source.audio] if isinstance(source.audio, str) else list(source.audio or [])
    paths = [Path(path).expanduser().resolve() for path in given]
    return scan(
        paths,
        corpus=paths[0].parent.name if paths[0].is_file() else paths[0].name,
        labels=source.labels,
        columns=source.columns,
        min_seconds=source.min_seconds,
        max_seconds=source.max_seconds,
    )


def extract_log_mels(
    workspace: Workspace,
    scanned: pd.DataFrame,
    unreadable: pd.DataFrame,
    front_end: FrontEndParams,
    extraction: Extraction,
    run: Run,
) -> tuple[Any, pd.DataFrame, pd.DataFrame]:
    """Decode, mix down, resample and transform every clip, once."""
    from ...audio.extraction import extract_log_mels as extract
    from ...audio.log_mel import FrontEnd
    from ...audio.store import LogMelStore

    if run.fresh and workspace.path.exists():
        shutil.rmtree(workspace.path)
    definition = FrontEnd(**front_end.model_dump())
    undecodable = extract(scanned, workspace.path, definition, **extraction.model_dump())
    store = LogMelStore.open(workspace.path, definition)
    manifest = scanned[scanned["clip_id"].isin(store.clip_ids)].reset_index(drop=True)
    return store, manifest, pd.concat([unreadable, undecodable], ignore_index=True)


def assign_task_splits(manifest: pd.DataFrame, task: Task, run: Run) -> pd.DataFrame:
    """Say which clips train, validate and test, in every fold."""
    from ...audio.splits import assign_splits

    splits = assign_splits(
        manifest,
        seed=min(run.seeds),
        valid_fraction=task.valid_fraction,
        test_fraction=task.test_fraction,
    )
    return splits.merge(manifest[AUDIO_KEY], on="clip_id")


def assign_pool_splits(manifest: pd.DataFrame) -> pd.DataFrame:
    """Declare every clip of an unlabelled corpus trainable."""
    return manifest[AUDIO_KEY].assign(fold=0, split="unlabelled", made_by="no task")


def select_pretraining_clips(evaluation: Evaluation, **splits: pd.DataFrame) -> pd.DataFrame:
    """List, for every fold, the clips that no task holds out."""
    from ...tasks.pretraining_clips import select_pretraining_clips as select

    return select(splits, transductive=evaluation.transductive)


def measure_statistics(clips: pd.DataFrame, *stores: Any) -> dict[str, dict[str, float]]:
    """Measure mean and deviation of the pre-training log-mels of every fold."""
    from ...audio.store import LogMelStore

    store = LogMelStore.union(stores)
    statistics = {}
    for fold, of_fold in clips.groupby("fold"):
        rows = store.rows(of_fold["clip_id"].to_numpy())
        mean, std = store.statistics(rows)
        hours = float(store.n_frames[rows].sum()) * store.front_end.hop
        hours /= store.front_end.sample_rate * 3600
        statistics[str(fold)] = {
            "mean": mean,
            "std": std,
            "clips": float(len(rows)),
            "hours": round(hours, 4),
        }
    return statistics
