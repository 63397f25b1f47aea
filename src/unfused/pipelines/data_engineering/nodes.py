"""From audio files to a validated manifest, a log-mel store, splits and statistics."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ...core.errors import UserError
from ...core.workspace import Workspace, fingerprint
from ...data.overlap import AUDIO_KEY
from ...params import (
    Audio,
    Demo,
    Evaluation,
    Extraction,
    FrontEndParams,
    KMixParams,
    Pretraining,
    PseudoLabels,
    Run,
    Task,
)


def render_demo_corpus(workspace: Workspace, demo: Demo) -> Path:
    """Render the demo corpus, or what is missing of it."""
    from ...demo.corpus import render_demo_corpus as render

    render(workspace.path, n_notes=demo.n_notes, seconds=demo.seconds)
    return workspace.path


def render_demo_mixtures(workspace: Workspace, demo_corpus: Path, demo: Demo) -> Path:
    """Mix the demo's notes into clips of one to three instruments."""
    from ...demo.mixtures import render_mixtures

    return render_mixtures(workspace.path, demo_corpus, n=demo.n_mixtures)


def scan_demo_audio(source: Task, rendered: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the headers of a rendered corpus."""
    return scan_task_audio(source.model_copy(update={"audio": str(rendered)}))


def scan_task_audio(source: Task) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the headers of a task's files, and see that there are labels."""
    from ...data.manifest import check_classes

    usable, unusable = scan_pool_audio(source)
    if source.card is not None:
        from ...tasks.expected import warn_of_counts

        warn_of_counts(usable, unusable, clips=source.card.clips, classes=source.card.classes)
    if usable["label"].isna().all():
        raise UserError(
            f"{source.audio} has no labels, and a task needs at least 2 classes: make one folder "
            "per class, or list the files in a CSV with columns path and label. A column of "
            "another name (columns.label) is --params tasks.own_data.columns.label=<column>"
            f"{_columns_found(source)}. Audio without labels is --params unlabelled=<folder>"
        )
    check_classes(usable)
    return usable, unusable


def _columns_found(source: Task) -> str:
    """Say which columns the tables of a task without labels have."""
    from ...data.sources import FOLDER_TABLE
    from ...data.table import ManifestError, read_table

    for path in _paths(source):
        table = path / FOLDER_TABLE if path.is_dir() else path
        try:
            if table.is_file():
                read_table(table, {"label": "label", **source.columns})
        except ManifestError as error:  # it lists the columns
            return f" ({error})"
    return ""


def scan_pool_audio(source: Audio) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the headers of a corpus's files; list what can be used and what cannot, with reasons."""
    from ...data.manifest import scan_audio as scan
    from ...data.sources import corpus_name

    paths = _paths(source)
    return scan(
        paths,
        corpus=corpus_name(source.audio or []),
        labels=source.labels,
        columns=source.columns,
        listing=_listing(source, paths[0]),
        label_separator=getattr(source, "label_separator", None),
        min_seconds=source.min_seconds,
        max_seconds=source.max_seconds,
    )


def _listing(source: Audio, folder: Path) -> pd.DataFrame | None:
    """List a public data set by its own layout; None where the task names none."""
    if not isinstance(source, Task) or source.layout is None:
        return None
    from ...tasks.layouts import read_layout

    return read_layout(source.layout, folder, **source.layout_options)


def _paths(source: Audio) -> list[Path]:
    given = [source.audio] if isinstance(source.audio, str) else list(source.audio or [])
    return [Path(path).expanduser().resolve() for path in given]


def extract_log_mels(
    workspace: Workspace,
    scanned: pd.DataFrame,
    unreadable: pd.DataFrame,
    front_end: FrontEndParams,
    extraction: Extraction,
    run: Run,
) -> tuple[Any, pd.DataFrame, pd.DataFrame]:
    """Decode, mix down, resample and transform every clip, once."""
    from ...data.log_mel import FrontEnd

    definition = FrontEnd(**front_end.model_dump())
    return extracted(workspace, scanned, unreadable, definition, extraction, run)


def extracted(
    workspace: Workspace,
    scanned: pd.DataFrame,
    unreadable: pd.DataFrame,
    definition: Any,
    extraction: Extraction,
    run: Run,
) -> tuple[Any, pd.DataFrame, pd.DataFrame]:
    """Return the log-mel store of a corpus, its clips, and the files that are not in it."""
    from ...data.extraction import extract_log_mels as extract
    from ...data.store import LogMelStore

    if run.fresh and workspace.path.exists():
        shutil.rmtree(workspace.path)
    undecodable = extract(scanned, workspace.path, definition, **extraction.model_dump())
    store = LogMelStore.open(workspace.path, definition)
    manifest = scanned[scanned["clip_id"].isin(store.clip_ids)].reset_index(drop=True)
    return store, manifest, pd.concat([unreadable, undecodable], ignore_index=True)


def assign_task_splits(
    manifest: pd.DataFrame, task: Task, pseudo_labels: PseudoLabels
) -> pd.DataFrame:
    """Say which clips train, validate and test, in every fold."""
    from ...data.splits import assign_splits

    splits = assign_splits(
        manifest,
        seed=task.split_seed,
        valid_fraction=task.valid_fraction,
        test_fraction=task.test_fraction,
    )
    check_n_clusters(splits, pseudo_labels.n_clusters)
    return splits.merge(manifest[AUDIO_KEY], on="clip_id")


def check_n_clusters(splits: pd.DataFrame, n_clusters: int | None) -> None:
    """Refuse more pseudo-classes than some fold has training clips, before anything is trained."""
    from ...tasks.pretraining_clips import training_clips

    for fold in splits["fold"].unique():
        n_clips = len(training_clips(splits, fold))
        if n_clusters is not None and n_clusters > n_clips:
            raise UserError(
                f"unfused.pseudo_labels.n_clusters={n_clusters} is more than the {n_clips} "
                f"training clips of fold {fold}: set it lower, or null for the number of classes, "
                "or add audio"
            )


def assign_pool_splits(manifest: pd.DataFrame) -> pd.DataFrame:
    """Declare every clip of an unlabelled corpus trainable."""
    from ...tasks.pretraining_clips import NO_TASK

    return manifest[AUDIO_KEY].assign(fold=0, split="unlabelled", made_by=NO_TASK)


def select_pretraining_clips(
    evaluation: Evaluation, pretraining: Pretraining, **splits: pd.DataFrame
) -> pd.DataFrame:
    """List, for every fold, the clips that no task holds out."""
    from ...tasks.pretraining_clips import select_pretraining_clips as select

    return select(splits, transductive=evaluation.transductive, task_audio=pretraining.task_audio)


def measure_statistics(clips: pd.DataFrame, *stores: Any) -> dict[str, dict[str, float]]:
    """Measure mean and deviation of the pre-training log-mels of every fold."""
    from ...data.store import LogMelStore

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


def fit_kmix_centroids(
    workspace: Workspace, clips: pd.DataFrame, k_mix: KMixParams, run: Run, *stores: Any
) -> pd.DataFrame:
    """Cluster the pre-training clips of every fold by their time-means, for k-mix."""
    from ...data.store import LogMelStore
    from ...views.k_mix_centroids import centroid_table, fit_centroids

    store, found = LogMelStore.union(stores), []
    settings = k_mix.model_dump(include={"n_centroids", "max_clips", "seed"})
    for fold, of_fold in clips.groupby("fold"):
        ids = of_fold["clip_id"]

        def build(_: Path, ids: pd.Series = ids) -> dict[str, pd.DataFrame]:
            fitted = fit_centroids(store, store.rows(ids.to_numpy()), **settings)
            return {"centroids": centroid_table(*fitted)}

        mark = fingerprint("k-mix centroids", settings, ids, store.front_end)
        tables = workspace.tables(f"fold{fold}", mark, build, fresh=run.fresh)
        found.append(tables["centroids"].assign(fold=fold))
    return pd.concat(found, ignore_index=True)


def fill_kmix_bank(
    clips: pd.DataFrame, statistics: dict, centroids: pd.DataFrame, k_mix: KMixParams, *stores: Any
) -> Any:
    """Draw a full bank of k-mix, as training on the first fold comes to have it."""
    from ...tasks.corpus import Corpus
    from ...training.k_mix_bank import draw_bank

    data = _first_fold(clips, statistics, centroids, stores)
    corpus = Corpus.of(data.store, data.clips, name="k-mix")
    return draw_bank(corpus, data.k_mix_centroids, size=k_mix.views.mixup_bank, seed=k_mix.seed)


def draw_example_views(
    clips: pd.DataFrame,
    statistics: dict,
    centroids: pd.DataFrame,
    bank: Any,
    k_mix: KMixParams,
    *stores_and_manifests: Any,
) -> Any:
    """Mix a few training crops by k-mix, to be seen and heard; all stores, then all manifests."""
    from ...reporting.k_mix_examples import k_mix_examples

    half = len(stores_and_manifests) // 2
    data = _first_fold(clips, statistics, centroids, stores_and_manifests[:half])
    manifest = pd.concat(stores_and_manifests[half:], ignore_index=True)
    views = k_mix.views.model_dump()
    return k_mix_examples(data, manifest, bank, views, n_examples=k_mix.n_examples, seed=k_mix.seed)


def _first_fold(
    clips: pd.DataFrame, statistics: dict, centroids: pd.DataFrame, stores: Sequence[Any]
) -> Any:
    """Return the pre-training clips of the first fold."""
    from ...data.store import LogMelStore
    from ...tasks.training_set import TrainingSet
    from ...views.k_mix_centroids import centroids_of

    fold = clips["fold"].min()
    level = statistics[str(fold)]
    return TrainingSet(
        LogMelStore.union(stores),
        clips[clips["fold"] == fold].reset_index(drop=True),
        level["mean"],
        level["std"],
        centroids_of(centroids, fold),
    )
