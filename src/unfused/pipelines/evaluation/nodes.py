"""Evaluation on the true labels: linear probes, fine-tuning, training from scratch."""

from pathlib import Path
from typing import Any

import pandas as pd

from ...core.outputs import mark_of
from ...core.progress import progress
from ...core.repeats import repeats
from ...core.source import source_digest
from ...params import EncoderParams, Evaluation, Run

TRUTH = ["clip_id", "label", "group"]  # of the clips: files may move without changing a score


def list_candidates(
    corpus: Any, students: Any, evaluation: Evaluation, encoder: EncoderParams, run: Run, *,
    teacher: str, **compared: Any,
) -> list:  # fmt: skip
    """List the encoders that are compared: baselines, methods, students and their controls."""
    from ...embeddings.read_out import ReadOut
    from ...probes.candidates import PLAIN
    from ...probes.candidates import list_candidates as listed

    outside = {label: given for label, given in compared.items() if isinstance(given, dict)}
    joined = [[teacher if name == "teacher" else name for name in of] for of in evaluation.joined]
    methods = {label: given for label, given in compared.items() if label not in outside}
    return listed(
        *(methods, students, repeats(run.seeds, corpus.folds)),
        untrained=(encoder.name, encoder.settings),
        read_outs=[ReadOut(**given) for given in evaluation.read_outs],
        others={**PLAIN, **outside},
        joined=joined,
    )


def embed_clips(candidates: list, corpus: Any, run: Run) -> list:
    """Embed labelled clips, and some without a label, with every candidate, once."""
    from ...probes.candidates import embed_candidates

    outputs = run.outputs(corpus.name, "embeddings")
    return embed_candidates(candidates, corpus, outputs, device=run.device)


def probe_encoders(
    embeddings: list, corpus: Any, evaluation: Evaluation, run: Run
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Probe every frozen encoder of every repeat."""
    from ...probes.candidates import Vectors
    from ...probes.evaluation import evaluate_frozen

    found, outputs = [], run.outputs(corpus.name, "probes")
    how = evaluation.model_dump(include={"protocols", "transductive"})
    known = {**how, **truth(corpus), "source": source_digest("probes.evaluation")}
    for candidate in progress(embeddings, total=len(embeddings), desc="probing", unit="encoder"):

        def build(_: Path, of: Any = candidate) -> dict[str, pd.DataFrame]:
            return evaluate_frozen(of, Vectors.load(of), corpus, **how)

        found.append(outputs.tables(candidate.key, {**known, **candidate.identity()}, build))
    return joined(found, "results"), joined(found, "predictions")


def fine_tune_encoders(
    candidates: list, corpus: Any, evaluation: Evaluation, run: Run
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, dict[str, Path]]:
    """Train end to end on the true labels: chosen encoders, and random ones from scratch."""
    from ...probes.evaluation import NETWORK, evaluate_fine_tuned, plans

    found, networks, outputs = [], {}, run.outputs(corpus.name, "networks")
    how: dict[str, Any] = {"transductive": evaluation.transductive}
    known = {**truth(corpus), **how, "source": source_digest("probes.evaluation")}
    wanted = evaluation.supervised.settings()
    for plan in plans(candidates, evaluation.supervised.encoders, *wanted):

        def build(folder: Path, of: Any = plan) -> None:
            tables = evaluate_fine_tuned(of, corpus, folder, device=run.device, **how)
            for key, table in tables.items():
                table.to_parquet(folder / f"{key}.parquet")

        folder = outputs.built(plan.name, {**known, "plan": plan.identity()}, build)
        networks[plan.name] = folder / NETWORK
        found.append({file.stem: pd.read_parquet(file) for file in folder.glob("*.parquet")})
    tables = [joined(found, key) for key in ("results", "predictions", "history")]
    return tables[0], tables[1], tables[2], networks


def measure_label_efficiency(
    embeddings: list, corpus: Any, evaluation: Evaluation, run: Run
) -> pd.DataFrame:
    """Score chosen encoders after learning from few labels, for every budget and draw."""
    from ...probes.evaluation import plans
    from ...probes.label_efficiency import COLUMNS, few_label_work

    asked, outputs, found = evaluation.label_efficiency, run.outputs(corpus.name, "few_labels"), []
    how = asked.model_dump(include={"budgets", "draws"})
    how["transductive"] = evaluation.transductive
    known = {**truth(corpus), **how, "source": source_digest("probes.label_efficiency")}
    probed = [item for item in embeddings if asked.takes(item.label, item.source)]
    wanted = evaluation.supervised.settings()
    trained = plans(embeddings, asked.fine_tuning, *wanted) if asked.fine_tuning else []
    how |= {"protocols": asked.protocols, "device": run.device, "seeds": run.seeds}
    for name, made_of, build in few_label_work(probed, trained, corpus, **how):
        found.append(outputs.tables(name, {**known, **made_of}, build))
    return joined(found, "rows") if found else pd.DataFrame(columns=list(COLUMNS))


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


def truth(corpus: Any) -> dict[str, Any]:
    """Return what scores depend on besides encoders: which clips, their parts and labels."""
    tables = {"splits": corpus.splits, "truth": corpus.clips[TRUTH]}
    marks = {name: mark_of(table=table) for name, table in tables.items()}  # once, not per encoder
    return {"corpus": corpus.mark, "kind": corpus.kind.name, **marks}


def joined(found: list[dict[str, pd.DataFrame]], key: str) -> pd.DataFrame:
    """Put tables of several encoders together."""
    return pd.concat([tables[key] for tables in found], ignore_index=True)
