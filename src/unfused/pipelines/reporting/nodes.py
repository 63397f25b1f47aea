"""The report: tables, figures, and one page that shows them."""

import logging
from typing import Any

import pandas as pd

from ...core.workspace import Workspace, fingerprint
from ...params import Evaluation, MethodParams, Report, Run, Task
from ...reporting.naming import task_name

log = logging.getLogger(__name__)


def describe_corpus(
    manifest: pd.DataFrame, splits: pd.DataFrame, rejected: pd.DataFrame, store: Any
) -> pd.DataFrame:
    """Count a corpus's clips, hours, labels and rejected files, for every fold."""
    from ...reporting.data_card import data_card

    hours = float(store.n_frames.sum()) * store.front_end.hop / store.front_end.sample_rate / 3600
    return data_card(manifest, splits, rejected, hours=hours)


def join_corpora(own: Task | None = None, **tables: pd.DataFrame) -> pd.DataFrame:
    """Put the same table of several corpora together, with a first column that names them."""
    named = [table.assign(corpus=_shown(name, own)) for name, table in tables.items()]
    joined = pd.concat(named, ignore_index=True)
    return joined[["corpus", *(name for name in joined if name != "corpus")]]


def join_tasks(own: Task | None = None, **tables: Any) -> pd.DataFrame:
    """Put the same table of several tasks together, with a first column that names them."""
    named = [pd.DataFrame(table).assign(task=_shown(name, own)) for name, table in tables.items()]
    joined = pd.concat(named, ignore_index=True)
    return joined[["task", *(name for name in joined if name != "task")]]


def _shown(task: str, own: Task | None) -> str:
    """Return the name of a task for people; ``own`` is given where it may be one's own data."""
    return task if own is None or not own.audio else task_name(task, own.audio, own.title)


def summarise_results(
    results: pd.DataFrame, predictions: pd.DataFrame, evaluation: Evaluation, teacher: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Average over seeds and folds, with intervals, and compare the student with its rivals."""
    from ...reporting.aggregate import summarise
    from ...reporting.comparisons import student_comparisons

    known: dict[str, Any] = {"n_draws": evaluation.bootstrap, "teacher": teacher}
    summary = summarise(results, predictions, **known)
    comparisons = student_comparisons(results, predictions, **known)
    return summary, comparisons


def write_lape_table(summary: pd.DataFrame) -> tuple[str, str, str]:
    """Write the table as CSV, Markdown and LaTeX; the latter two with balanced accuracy below."""
    from ...reporting.lape_table import lape_table
    from ...reporting.table_formats import to_csv, to_latex, to_markdown

    main, balanced = lape_table(summary), lape_table(summary, metric="balanced_accuracy")
    both = [main, balanced]
    return to_csv(main), "\n".join(map(to_markdown, both)), "\n".join(map(to_latex, both))


def place_clusters(
    workspace: Workspace,
    features: pd.DataFrame,
    pseudo_labels: pd.DataFrame,
    manifest: pd.DataFrame,
    report: Report,
    run: Run,
) -> pd.DataFrame:
    """Place the first repeat's clips on a t-SNE map of the teacher's features."""
    from ...reporting.figures import tsne_points

    def build(_: Any) -> dict[str, pd.DataFrame]:
        columns = [name for name in features if name != "clip_id"]
        points = tsne_points(features[columns].to_numpy(), min(run.seeds), report.tsne_points)
        ids = features["clip_id"].iloc[points.rows].to_numpy()
        return {
            "points": pd.DataFrame({"clip_id": ids, "x": points.xy[:, 0], "y": points.xy[:, 1]})
        }

    mark = fingerprint("tsne", features, report.tsne_points, min(run.seeds))
    points = workspace.tables("tsne", mark, build, fresh=run.fresh)["points"]
    shown = pseudo_labels[pseudo_labels["source"] == "teacher"].drop_duplicates("clip_id")
    points = points.merge(shown[["clip_id", "pseudo_label"]], on="clip_id")
    points = points.merge(manifest[["clip_id", "label"]], on="clip_id")
    return points.assign(n_clips=len(features))


def pick_cluster_clips(
    features: pd.DataFrame,
    pseudo_labels: pd.DataFrame,
    manifest: pd.DataFrame,
) -> Any:
    """Pick the clips nearest to the centre of each of the first repeat's clusters, to be heard."""
    from ...reporting.cluster_clips import cluster_clips

    of_teacher = pseudo_labels[pseudo_labels["source"] == "teacher"].drop_duplicates("clip_id")
    numbers = of_teacher.set_index("clip_id")["pseudo_label"]
    return cluster_clips(features, numbers, manifest)


def show_cluster_clips(own: Task | None = None, **clips: Any) -> str:
    """Make players of every task's largest clusters, for the report."""
    from ...reporting.cluster_players import listening_section

    names = {task: _shown(task, own) for task in clips}
    tasks = {names[task]: heard for task, heard in clips.items()}
    return listening_section(
        tasks, {name: f"{task}/cluster_clips/index.html" for task, name in names.items()}
    )


def draw_pseudo_labels(
    quality: pd.DataFrame, own: Task | None = None, **points: pd.DataFrame
) -> Any:
    """Draw every task's t-SNE map, coloured by pseudo-label and by true label."""
    from ...reporting.figures import tsne_pseudo_labels
    from ...reporting.figures.stack import stack

    of_teacher = quality[quality["source"] == "teacher"].drop_duplicates("task").set_index("task")
    return stack(
        [
            tsne_pseudo_labels(
                table[["x", "y"]].to_numpy(),
                table["pseudo_label"].to_numpy(),
                table["label"].to_numpy(),
                task=task,
                n_clips=int(table["n_clips"].iloc[0]),
                nmi=None if pd.isna(of_teacher.loc[task, "nmi"]) else of_teacher.loc[task, "nmi"],
                n_labelled=int(of_teacher.loc[task, "n_labelled"]),
            )
            for task, table in ((_shown(name, own), table) for name, table in points.items())
        ]
    )


def draw_learning_curves(own: Task | None = None, **histories: pd.DataFrame) -> Any:
    """Draw loss, collapse measures and learning rate of every training of the run."""
    from ...reporting.figures import learning_curves
    from ...reporting.naming import encoder_name

    stages = []
    for name, table in histories.items():
        task, kind = name.rsplit("_", 1)
        if kind == "pretraining":
            stages.append(table.assign(stage=f"{encoder_name(task, teacher=None)} pre-training"))
            continue
        shown = table[table["source"].isin(["", "teacher"])]
        what = shown["encoder"].map(_trained_on_labels) if "encoder" in shown else kind
        stages.append(shown.assign(stage=f"{_shown(task, own)}: " + what))
    curves = pd.concat(stages, ignore_index=True)
    return learning_curves(curves.drop(columns=["clips", "source", "encoder"], errors="ignore"))


def _trained_on_labels(encoder: str) -> str:
    scratch = encoder.startswith("supervised")
    return "supervised from scratch" if scratch else f"{encoder} fine-tuned"


def draw_augmentation_views(
    statistics: dict,
    centroids: pd.DataFrame,
    splits: pd.DataFrame,
    manifest: pd.DataFrame,
    method: MethodParams,
    store: Any,
) -> Any:
    """Draw what the teacher's views make of a few training clips."""
    from ...reporting.example_views import example_views
    from ...reporting.figures import augmentation_views
    from ...views.k_mix_centroids import centroids_of

    fold = next(iter(statistics))
    chosen = splits[splits["split"].isin(["train", "unlabelled"])]["clip_id"]
    clips = manifest[manifest["clip_id"].isin(chosen)]
    level = statistics[fold]
    examples = example_views(
        store,
        clips,
        mean=level["mean"],
        std=level["std"],
        centroids=centroids_of(centroids, int(fold)),
        views=method.views.model_dump(),
    )
    seconds = store.front_end.hop / store.front_end.sample_rate
    return augmentation_views(examples, hop_seconds=seconds)


def draw_kmix_pairs(examples: Any) -> Any:
    """Draw which crops k-mix puts together."""
    from ...reporting.figures import kmix_pairs

    return kmix_pairs(examples)


def draw_confusion(predictions: pd.DataFrame) -> Any:
    """Draw what the student's linear probe takes for what, on every task."""
    from ...reporting.figures import confusion_matrix
    from ...reporting.figures.stack import stack
    from ...reporting.figures.style import counted

    student = predictions[
        (predictions["encoder"] == "unfused")
        & (predictions["source"] == "teacher")
        & (predictions["protocol"] == "linear_probe")
    ]
    return stack(
        [
            confusion_matrix(
                of_task["label"].to_list(),
                of_task["predicted"].to_list(),
                title=f"UnFuSeD student, linear probe: {task} "
                f"({counted([of_task['clip_id'].nunique()], 'clip')}, "
                f"{counted([of_task['seed'].nunique()], 'seed')})",
            )
            for task, of_task in student.groupby("task", sort=False)
        ]
    )


def rank_methods(
    summary: pd.DataFrame, predictions: pd.DataFrame, evaluation: Evaluation, teacher: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rank encoders over tasks, and compare every pair of them on every task."""
    from ...reporting.method_ranking import compare_methods, rank_encoders

    ranking = rank_encoders(summary)
    comparisons = compare_methods(
        summary, predictions, teacher=teacher, n_draws=evaluation.bootstrap
    )
    return ranking, comparisons


def list_missing_tasks(tasks: dict) -> pd.DataFrame:
    """List the public data sets that are not there: what to get, and where to put it."""
    from ...tasks.expected import missing_tasks

    plain = {  # Kedro hands over those entries typed that some other node asks for typed
        name: entry.model_dump() if hasattr(entry, "model_dump") else entry
        for name, entry in tasks.items()
    }
    missing = missing_tasks(plain)
    if len(missing):
        names = ", ".join(missing["task"])
        log.info("not there, so not run (missing_tasks.csv says where to get them): %s", names)
    return missing


def draw_ranks(ranking: pd.DataFrame) -> Any:
    """Draw the average rank of every encoder, and which the tasks cannot tell apart."""
    from ...reporting.figures import average_ranks

    return average_ranks(ranking)


def summarise_label_efficiency(
    scores: pd.DataFrame, teacher: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Average scores over draws, folds and seeds, and count the labels that methods save."""
    from ...reporting.label_curves import label_curves, labels_saved

    curves = label_curves(scores, teacher=teacher)
    return curves, labels_saved(curves)


def draw_label_efficiency(curves: pd.DataFrame) -> Any:
    """Draw every encoder's score against the number of labels."""
    from ...reporting.figures import label_efficiency

    return label_efficiency(curves)


def draw_scores(summary: pd.DataFrame) -> Any:
    """Draw every encoder's accuracy with its interval."""
    from ...reporting.figures import score_bars

    return score_bars(summary)


def write_report(
    summary: pd.DataFrame,
    comparisons: pd.DataFrame,
    quality: pd.DataFrame,
    data_card: pd.DataFrame,
    rejected: pd.DataFrame,
    parameters: dict,
    report: Report,
    cluster_players: str,
    **figures: bytes,
) -> tuple[str, str]:
    """Write the page, and the words that close the run."""
    from ...reporting.run_report import closing_words, run_report

    content = run_report(
        summary,
        comparisons,
        figures,
        quality=quality,
        data_card=data_card,
        rejected=rejected,
        parameters=parameters,
        configurations_tried=report.configurations_tried,
        cluster_players=cluster_players,
    )
    from ...reporting.report_html import render_report

    return render_report(content), closing_words(content)


def record_parameters(parameters: dict, results: pd.DataFrame) -> dict:
    """Keep the parameters, as they were after every override, of the results that are there now."""
    from ...reporting.flat_parameters import plain

    return dict(plain(parameters))


def compare_runs(runs: dict) -> pd.DataFrame:
    """List what each run scored on validation clips, and the parameters in which runs differ."""
    from ...reporting.run_comparison import best_students, compare_runs

    table = compare_runs(runs)
    for line in best_students(table):
        log.info("%s", line)
    return table
