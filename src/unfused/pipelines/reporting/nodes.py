"""The report: tables, figures, and one page that shows them."""

import logging
from typing import Any

import pandas as pd

from ...core.source import source_digest
from ...params import Evaluation, MethodViews, Report, Run
from ...reporting.figures import drawn
from ...reporting.names import encoder_name, is_control

log = logging.getLogger(__name__)


def describe_corpus(corpus: Any) -> pd.DataFrame:
    """Count a corpus's clips, hours, labels and rejected files, for every fold."""
    from ...reporting.summary import data_card

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
    results: pd.DataFrame, predictions: pd.DataFrame, evaluation: Evaluation, teacher: str, run: Run
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Average over seeds and folds, with intervals, and make the planned comparisons."""
    known: dict[str, Any] = {"n_draws": evaluation.bootstrap, "teacher": teacher}

    def build(_: Any) -> dict[str, pd.DataFrame]:
        from ...reporting.findings import compare
        from ...reporting.summary import summarise

        summary = summarise(results, predictions, **known)
        return {"summary": summary, "comparisons": compare(summary, predictions, **known)}

    code = ("reporting.summary", "reporting.findings", "data.label_sets")
    made_of = {"results": dict(results), "predictions": dict(predictions), **known}
    made_of["source"] = source_digest(*code, follow=["reporting"])
    found = run.outputs("summaries").tables("scores", made_of, build)
    return found["summary"], found["comparisons"]


def find_weaknesses(
    summary: pd.DataFrame, comparisons: pd.DataFrame, predictions: pd.DataFrame, *corpora: Any
) -> list[dict[str, Any]]:
    """Choose each task's best classifier on validation clips; find what it confuses."""
    from ...reporting.findings import findings

    clips = {corpus.name: corpus.clips for corpus in corpora}
    return findings(summary, comparisons, predictions, clips)


def write_score_table(summary: pd.DataFrame) -> tuple[str, str, str]:
    """Write the scores as CSV (every metric and number), Markdown and LaTeX."""
    from ...reporting.table import score_table, to_latex, to_markdown

    table = score_table(summary)
    return summary.to_csv(index=False), to_markdown(table), to_latex(table)


def place_clusters(
    features: pd.DataFrame, pseudo_labels: pd.DataFrame, corpus: Any, report: Report, run: Run
) -> pd.DataFrame:
    """Place the first repeat's clips on a t-SNE map of the teacher's features."""

    def build(_: Any) -> dict[str, pd.DataFrame]:
        from ...reporting.figures.clusters import tsne_points

        vectors = features.drop(columns="clip_id").to_numpy()
        rows, xy = tsne_points(vectors, min(run.seeds), report.tsne_points)
        ids = features["clip_id"].iloc[rows].to_numpy()
        return {"points": pd.DataFrame({"clip_id": ids, "x": xy[:, 0], "y": xy[:, 1]})}

    made_of = {"features": features, "points": report.tsne_points, "seed": min(run.seeds)}
    made_of["source"] = source_digest("reporting.figures.clusters")
    points = run.outputs(corpus.name, "pseudo_labels").tables("tsne", made_of, build)["points"]
    shown = pseudo_labels[pseudo_labels["source"] == "teacher"].drop_duplicates("clip_id")
    points = points.merge(shown[["clip_id", "pseudo_label"]], on="clip_id")
    points = points.merge(corpus.clips[["clip_id", "label"]], on="clip_id")
    return points.assign(n_clips=len(features))


def draw_clusters(points: pd.DataFrame, quality: list, run: Run) -> bytes:
    """Draw a task's t-SNE map by pseudo-label and by true label."""
    of_teacher = pd.DataFrame(quality).query("source == 'teacher'").iloc[0]
    ami = None if pd.isna(of_teacher["ami"]) else of_teacher["ami"]
    columns = (["x", "y"], "pseudo_label", "label")
    shown, n_clips = [points[name].to_numpy() for name in columns], int(points["n_clips"].iloc[0])
    figures = run.outputs("figures")
    return drawn(figures, "clusters.cluster_map", *shown, n_clips=n_clips, ami=ami)


def draw_learning_curves(run: Run, **histories: pd.DataFrame) -> bytes:
    """Draw loss, collapse measures and learning rate of every training of the run."""
    stages = []
    for name, table in histories.items():
        if "task" not in table:
            stages.append(table.assign(stage=f"{encoder_name(name)} pre-training"))
            continue
        shown = table[~table["source"].map(is_control)]
        what = shown["encoder"].map(_trained_on_labels) if "encoder" in shown else "student"
        stages.append(shown.assign(stage=shown["task"] + ": " + what))
    curves = pd.concat(stages, ignore_index=True)
    unused = ["clips", "clips_per_second", "source", "encoder", "task"]  # would draw it again
    curves = curves.drop(columns=unused, errors="ignore")
    return drawn(run.outputs("figures"), "curves.learning_curves", curves)


def _trained_on_labels(encoder: str) -> str:
    scratch = encoder.startswith("supervised")
    return "supervised from scratch" if scratch else f"{encoder_name(encoder)}, fine-tuned"


def draw_augmentation_views(
    pretraining: Any, centroids: pd.DataFrame, corpus: Any, training: Any, run: Run
) -> bytes:
    """Draw what the views of the teacher's training make of a few clips."""
    from ...reporting.example_views import drawn_examples
    from ...views.k_mix_centroids import centroids_of

    fold = pretraining.folds[0]
    statistics = pretraining.for_training(fold).statistics
    clips, middle = corpus.for_training(corpus.folds[0]), centroids_of(centroids, fold)
    given = training if isinstance(training, dict) else training.model_dump()
    views = MethodViews(**given["views"]).model_dump()
    return drawn_examples(run.outputs("figures"), clips, views, statistics, middle)


def draw_confusion(
    predictions: pd.DataFrame, findings: list[dict[str, Any]], run: Run
) -> list[bytes]:
    """Draw what the best classifier of each task takes for what; one figure per task."""
    from ...reporting.summary import checked_predictions, of_classifier

    predictions, figures = checked_predictions(predictions), run.outputs("figures")
    pictures = []
    for found in findings:
        if found["several_labels"]:
            pictures.append(drawn(figures, "confusion.recognised", found["classes"]))
        else:
            answers = of_classifier(predictions, found["best"])
            both = answers["label"].to_list(), answers["predicted"].to_list()
            pictures.append(drawn(figures, "confusion.confusion_matrix", *both))
    return pictures


def list_missing_tasks(tasks: dict) -> pd.DataFrame:
    """List the public data sets that are not there: what to get, and where to put it."""
    from ...reporting.runs import plain
    from ...tasks.layouts import missing_tasks

    missing = missing_tasks(plain(tasks))
    if len(missing):
        names = ", ".join(missing["task"])
        log.info("not there, so not run (missing_tasks.csv says where to get them): %s", names)
    return missing


def summarise_label_efficiency(scores: pd.DataFrame, teacher: str) -> pd.DataFrame:
    """Average scores over draws, folds and seeds, for every number of labels."""
    from ...reporting.summary import label_curves

    return label_curves(scores, teacher=teacher)


def draw_label_efficiency(curves: pd.DataFrame, run: Run) -> bytes:
    """Draw every encoder's score against the number of labels."""
    return drawn(run.outputs("figures"), "curves.label_efficiency", curves)


def write_report(findings: list[dict[str, Any]], **shown: Any) -> tuple[str, str]:
    """Write the page, and the words that close the run; ``kind_of_i`` is a figure of task i."""
    from ...reporting.page import ReportContent, render_report

    of_tasks: dict[str, dict[str, bytes]] = {}
    figures: dict[str, bytes] = {}
    for name in [name for name, value in shown.items() if isinstance(value, bytes)]:
        kind, _, number = name.partition("_of_")
        task = findings[int(number)]["task"] if number else ""
        (of_tasks.setdefault(task, {}) if number else figures)[kind] = shown.pop(name)
    content = ReportContent(findings, figures=figures, of_tasks=of_tasks, **shown)
    return render_report(content), content.closing


def record_parameters(parameters: dict, results: pd.DataFrame) -> dict:
    """Keep the parameters, as they were after every override, of the results that are there now."""
    from ...reporting.runs import plain

    return dict(plain(parameters))


def compare_runs(runs: dict) -> pd.DataFrame:
    """List what each run scored on validation clips, and the parameters in which runs differ."""
    from ...reporting.runs import compare_runs

    table = compare_runs(runs)
    for task, rows in table.dropna(subset="validation").groupby("task", sort=False):
        best = rows.loc[rows["validation"].idxmax()]
        log.info("%s: run %s is the best of %d on validation (%s, %.1f)", task, best["run"],
                 len(runs), encoder_name(best["encoder"], best["source"]),
                 100 * best["validation"])  # fmt: skip
    return table
