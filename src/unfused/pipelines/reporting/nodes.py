"""The report: tables, figures, and one page that shows them."""

import logging
from typing import Any

import pandas as pd

from ...params import Evaluation, MethodParams, Report, Run

log = logging.getLogger(__name__)


def describe_corpus(corpus: Any) -> pd.DataFrame:
    """Count a corpus's clips, hours, labels and rejected files, for every fold."""
    from ...reporting.data_card import data_card

    hours = float(corpus.seconds.sum()) / 3600
    card = data_card(corpus.clips, corpus.splits, corpus.rejected, hours=hours)
    return card.assign(corpus=corpus.name)


def list_rejected_audio(*corpora: Any) -> pd.DataFrame:
    """List the files that were left out of any corpus, each with the reason."""
    tables = [corpus.rejected.assign(corpus=corpus.name) for corpus in corpora]
    return join_tables(*tables)


def join_tables(*tables: Any) -> pd.DataFrame:
    """Put the same table of several tasks or corpora together; a column names them."""
    joined = pd.concat([pd.DataFrame(table) for table in tables], ignore_index=True)
    first = [name for name in ("task", "corpus") if name in joined][:1]
    return joined[[*first, *(name for name in joined if name not in first)]]


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
    features: pd.DataFrame, pseudo_labels: pd.DataFrame, corpus: Any, report: Report, run: Run
) -> pd.DataFrame:
    """Place the first repeat's clips on a t-SNE map of the teacher's features."""
    from ...core.source import source_digest
    from ...reporting.figures import tsne_points

    def build(_: Any) -> dict[str, pd.DataFrame]:
        columns = [name for name in features if name != "clip_id"]
        points = tsne_points(features[columns].to_numpy(), min(run.seeds), report.tsne_points)
        ids = features["clip_id"].iloc[points.rows].to_numpy()
        return {
            "points": pd.DataFrame({"clip_id": ids, "x": points.xy[:, 0], "y": points.xy[:, 1]})
        }

    made_of = {"features": features, "points": report.tsne_points, "seed": min(run.seeds)}
    made_of["source"] = source_digest("reporting.figures.pseudo_label_map")
    points = run.outputs(corpus.name, "pseudo_labels").tables("tsne", made_of, build)["points"]
    shown = pseudo_labels[pseudo_labels["source"] == "teacher"].drop_duplicates("clip_id")
    points = points.merge(shown[["clip_id", "pseudo_label"]], on="clip_id")
    points = points.merge(corpus.clips[["clip_id", "label"]], on="clip_id")
    return points.assign(n_clips=len(features), task=corpus.name)


def pick_cluster_clips(
    features: pd.DataFrame, pseudo_labels: pd.DataFrame, corpus: Any
) -> tuple[str, str]:
    """Pick the clips nearest to the centre of each of the first repeat's clusters, to be heard."""
    from ...reporting.cluster_clips import cluster_clips
    from ...reporting.cluster_players import listening_page, listening_section

    of_teacher = pseudo_labels[pseudo_labels["source"] == "teacher"].drop_duplicates("clip_id")
    numbers = of_teacher.set_index("clip_id")["pseudo_label"]
    clips = cluster_clips(features, numbers, corpus.clips)
    page = listening_page(clips, f"Listen to the pseudo-clusters of {corpus.name}")
    return page, listening_section({corpus.name: clips})


def join_cluster_players(*sections: str) -> str:
    """Put players of every task's largest clusters together, for the report."""
    return "\n".join(sections)


def draw_pseudo_labels(quality: pd.DataFrame, *points: pd.DataFrame) -> Any:
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
            for task, table in ((table["task"].iloc[0], table) for table in points)
        ]
    )


def draw_learning_curves(**histories: pd.DataFrame) -> Any:
    """Draw loss, collapse measures and learning rate of every training of the run."""
    from ...reporting.figures import learning_curves
    from ...reporting.naming import encoder_name

    stages = []
    for name, table in histories.items():
        if "task" not in table:
            stages.append(table.assign(stage=f"{encoder_name(name, teacher=None)} pre-training"))
            continue
        shown = table[table["source"].isin(["", "teacher"])]
        what = shown["encoder"].map(_trained_on_labels) if "encoder" in shown else "student"
        stages.append(shown.assign(stage=shown["task"] + ": " + what))
    curves = pd.concat(stages, ignore_index=True)
    unused = ["clips", "source", "encoder", "task"]
    return learning_curves(curves.drop(columns=unused, errors="ignore"))


def _trained_on_labels(encoder: str) -> str:
    scratch = encoder.startswith("supervised")
    return "supervised from scratch" if scratch else f"{encoder} fine-tuned"


def draw_augmentation_views(
    pretraining: Any, centroids: pd.DataFrame, corpus: Any, method: MethodParams
) -> Any:
    """Draw what the teacher's views make of a few training clips."""
    from ...reporting.example_views import example_views
    from ...reporting.figures import augmentation_views
    from ...views.k_mix_centroids import centroids_of

    fold = pretraining.folds[0]
    mean, std = pretraining.for_training(fold).statistics
    trainable = corpus.splits[corpus.splits["split"].isin(["train", "unlabelled"])]
    examples = example_views(
        corpus.store,
        corpus.take(trainable["clip_id"]).clips,
        mean=mean,
        std=std,
        centroids=centroids_of(centroids, fold),
        views=method.views.model_dump(),
    )
    seconds = corpus.store.front_end.hop / corpus.store.front_end.sample_rate
    return augmentation_views(examples, hop_seconds=seconds)


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
