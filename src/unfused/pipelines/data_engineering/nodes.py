"""From audio files to a validated manifest, a log-mel store, splits and k-mix centroids."""

from pathlib import Path
from typing import Any

import pandas as pd

from ... import params
from ...core.errors import UserError
from ...core.source import source_digest


def render_demo_corpus(demo: params.Demo) -> Path:
    """Render short recordings of twelve instruments, or what is missing of them."""
    return _rendered(demo, "instrument")


def render_demo_notes(demo: params.Demo) -> Path:
    """Render single notes of the families of instruments, or what is missing of them."""
    return _rendered(demo, "notes")


def render_demo_mixtures(demo: params.Demo) -> Path:
    """Render clips of one to three instruments, or what is missing of them."""
    return _rendered(demo, "mixtures")


def render_synthetic_sounds(demo: params.Demo) -> Path:
    """Make random sounds to pre-train on, or what is missing of them."""
    from ...demo.synthesis import render_sounds

    return render_sounds(demo.folder, demo.settings())


def _rendered(demo: params.Demo, name: str) -> Path:
    from ...demo.corpus import render_demo

    return render_demo(demo.folder, name, demo.settings())


def scan_task_audio(source: params.Task, *rendered: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the headers of a task's files, and see that there are labels."""
    from ...data.manifest import check_classes

    usable, unusable = scan_pool_audio(source, *rendered)
    if source.card is not None:
        from ...tasks.layouts import warn_of_counts

        warn_of_counts(usable, unusable, clips=source.card.clips, classes=source.card.classes)
    if usable["label"].isna().all():
        raise UserError(
            f"{source.audio} has no labels, and a task needs at least 2 classes: make one folder "
            "per class, or list the files in a CSV with columns path and label. A column of "
            "another name (columns.label) is --params tasks.own_data.columns.label=<column>"
            f"{columns_found(source)}. Audio without labels is --params unlabelled=<folder>"
        )
    check_classes(usable)
    return usable, unusable


def columns_found(source: params.Task) -> str:
    """Say which columns the tables of a task without labels have."""
    from ...data.sources import FOLDER_TABLE
    from ...data.table import ManifestError, read_table

    for path in source.paths:
        table = path / FOLDER_TABLE if path.is_dir() else path
        try:
            if table.is_file():
                read_table(table, {"label": "label", **source.columns})
        except ManifestError as error:  # it lists the columns
            return f" ({error})"
    return ""


def scan_pool_audio(source: params.Audio, *rendered: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the headers of a corpus's files; list what can be used and what cannot, with reasons."""
    from ...data.manifest import scan_audio
    from ...data.sources import corpus_name
    from ...tasks.layouts import read_layout

    if rendered:
        source = source.model_copy(update={"audio": str(rendered[0])})
    layout = source.layout if isinstance(source, params.Task) else None
    options = source.layout_options if isinstance(source, params.Task) else {}
    how = {"labels", "columns", "label_separator", "labelled_since"}
    how |= {"min_seconds", "max_seconds", "window_seconds"}
    return scan_audio(
        source.paths,
        corpus=corpus_name(source.audio or []),
        listing=layout and read_layout(layout, source.paths[0], **options),
        **source.model_dump(include=how),
    )


def extract_log_mels(
    scanned: pd.DataFrame, unreadable: pd.DataFrame,
    front_end: params.FrontEndParams, extraction: params.Extraction,
) -> tuple[Any, pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """Decode, mix down, resample and transform every clip, once."""
    from ...data.extraction import MADE_BY
    from ...data.extraction import extract_log_mels as extract
    from ...data.log_mel import FrontEnd
    from ...data.manifest import AUDIO_KEY
    from ...data.store import LogMelStore

    how = extraction.model_dump(exclude={"folder", "fresh"})
    of_audio = FrontEnd(**front_end.model_dump())
    made_of = {"clips": scanned[AUDIO_KEY], "front_end": of_audio}
    made_of["source"] = source_digest(*MADE_BY)

    def build(folder: Path) -> None:
        extract(scanned, folder, of_audio, **how).to_parquet(folder / "undecodable.parquet")

    name = str(scanned["corpus"].iloc[0]) if len(scanned) else "nothing"
    folder = extraction.outputs(name).built("log_mels", made_of, build)
    store, undecodable = LogMelStore.open(folder), pd.read_parquet(folder / "undecodable.parquet")
    manifest = scanned[scanned["clip_id"].isin(store.clip_ids)].reset_index(drop=True)
    return store, manifest, pd.concat([unreadable, undecodable], ignore_index=True)


def split_task(
    store: Any, manifest: pd.DataFrame, rejected: pd.DataFrame,
    source: params.Task, pseudo_labels: params.PseudoLabels,
) -> tuple[Any, pd.DataFrame]:  # fmt: skip
    """Say which clips train, validate and test, in every fold."""
    from ...data.manifest import AUDIO_KEY
    from ...data.splits import assign_splits
    from ...distillation.pseudo_labels import check_n_clusters
    from ...tasks.corpus import Corpus

    how = source.model_dump(include={"valid_fraction", "test_fraction", "n_folds"})
    splits = assign_splits(manifest, seed=source.split_seed, **how)
    splits = splits.merge(manifest[AUDIO_KEY], on="clip_id")
    corpus = Corpus.of(store, manifest, splits, name=source.name, rejected=rejected)
    for fold in corpus.folds:  # before hours of pre-training show it
        check_n_clusters(pseudo_labels.n_clusters, len(corpus.for_training(fold)))
    return corpus, corpus.splits


def split_pool(
    store: Any, manifest: pd.DataFrame, rejected: pd.DataFrame
) -> tuple[Any, pd.DataFrame]:
    """Declare every clip of an unlabelled corpus trainable."""
    from ...data.manifest import AUDIO_KEY
    from ...tasks.corpus import Corpus
    from ...tasks.leakage import NO_TASK

    splits = manifest[AUDIO_KEY].assign(fold=0, split="unlabelled", made_by=NO_TASK)
    return Corpus.of(store, manifest, splits, rejected=rejected), splits


def select_pretraining_clips(
    evaluation: params.Evaluation, pretraining: params.Pretraining, *corpora: Any
) -> Any:
    """Put the clips together that no task holds out, for every fold; labels are taken away."""
    from ...data.store import LogMelStore
    from ...tasks.corpus import Corpus
    from ...tasks.leakage import select_pretraining_clips as select

    splits = {f"{number} {corpus.name}": corpus.splits for number, corpus in enumerate(corpora)}
    chosen = select(splits, transductive=evaluation.transductive, task_audio=pretraining.task_audio)
    clips = pd.concat([corpus.clips for corpus in corpora]).drop_duplicates("clip_id")
    clips = clips[clips["clip_id"].isin(chosen["clip_id"])].assign(label=None)
    store = LogMelStore.union([corpus.store for corpus in corpora])
    return Corpus.of(store, clips, chosen.assign(split="unlabelled"), name="pretraining")


def fit_kmix_centroids(corpus: Any, k_mix: params.KMixParams, run: params.Run) -> pd.DataFrame:
    """Cluster the pre-training clips of every fold by their time-means, for k-mix."""
    from ...views.k_mix_centroids import centroid_table, fit_centroids

    settings = k_mix.model_dump(include={"n_centroids", "max_clips", "seed"})
    source, found = source_digest("views.k_mix_centroids"), []
    for fold in corpus.folds:
        clips = corpus.for_training(fold)

        def build(_: Path, clips: Any = clips) -> dict[str, pd.DataFrame]:
            fitted = fit_centroids(clips.store, clips.rows, **settings)
            return {"centroids": centroid_table(*fitted)}

        made_of = {**settings, "clips": clips.mark, "source": source}
        tables = run.outputs("k_mix").tables(f"fold{fold}", made_of, build)
        found.append(tables["centroids"].assign(fold=fold))
    return pd.concat(found, ignore_index=True)


def draw_example_views(
    corpus: Any, centroids: pd.DataFrame, k_mix: params.KMixParams, run: params.Run
) -> bytes:
    """Draw a few training crops of the first fold, their k-mix partners, mixtures and views."""
    from ...reporting.example_views import drawn_examples
    from ...views.k_mix_centroids import centroids_of

    fold = corpus.folds[0]
    clips, how = corpus.for_training(fold), k_mix.model_dump(include={"n_examples", "seed"})
    given = k_mix.views.model_dump(), clips.statistics, centroids_of(centroids, fold)
    return drawn_examples(run.outputs("figures"), clips, *given, **how)
