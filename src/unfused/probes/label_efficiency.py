"""Label efficiency: the same test clips, scored after learning from few labels and from many.

Few labels are few: no validation label helps to choose a penalty or an epoch. A probe is chosen by
folds inside the labels it was given, or has one candidate where they are very few, and that of an
encoder hears the other training clips without their labels; fine-tuning takes its last epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..core.errors import UserError
from ..core.outputs import OutputFolder
from ..core.seeding import numpy_generator
from ..tasks.corpus import Corpus
from ..tasks.label_kinds import SINGLE_LABEL, LabelKind
from .candidates import Candidate, Vectors
from .evaluation import FrozenProtocol, Heard, Plan, checked_parts, fit_probe
from .fine_tuning import fine_tune
from .results import RowKeys, scored_rows

COLUMNS = (
    *("task", *RowKeys._fields, "budget", "draw", "n_labels", "metric", "value"),
    *("validation", "validation_error", "parameters", "chosen_on"),  # what choosing a model takes
)
Budget = int | str
Tables = dict[str, pd.DataFrame]


def few_label_work(
    probed: Sequence[Candidate],
    trained: Sequence[Plan],
    corpus: Corpus,
    *,
    seeds: Sequence[int],
    protocols: Sequence[FrozenProtocol],
    device: str = "auto",
    **how: Any,
) -> Iterator[tuple[str, dict[str, Any], Callable[[Path], Tables]]]:
    """Yield what :meth:`~unfused.core.outputs.OutputFolder.tables` takes: name, made_of, build.

    Frozen encoders, which have been embedded, are probed; what is planned is trained end to end.
    Each of the run's seeds draws labels of its own, and what no seed changes, plain statistics,
    learns from those of all.
    What the ``rows`` are made of lacks corpus and ``how``, see :func:`probe_with_few_labels`.
    """

    def probe(_: Path, of: Candidate, by: FrozenProtocol) -> Tables:
        return {"rows": probe_with_few_labels(of, Vectors.load(of), corpus, by, **how)}

    def train(folder: Path, of: Plan) -> Tables:
        return {"rows": train_with_few_labels(of, corpus, folder, device=device, **how)}

    for candidate, protocol in product(_of_every_seed(probed, seeds), protocols):
        made_of = {"protocol": protocol, **candidate.identity()}
        yield f"{candidate.key}-{protocol}", made_of, partial(probe, of=candidate, by=protocol)
    for plan in trained:
        yield plan.name, {"plan": plan.identity()}, partial(train, of=plan)


def _of_every_seed(probed: Sequence[Candidate], seeds: Sequence[int]) -> Iterator[Candidate]:
    """Yield encoders, and what no seed changes with every seed."""
    several = {item.label for item in probed if item.seed != seeds[0]}
    for item in probed:
        for seed in [item.seed] if item.label in several else seeds:
            yield replace(item, seed=seed)


def probe_with_few_labels(
    candidate: Candidate, vectors: Vectors, corpus: Corpus, protocol: FrozenProtocol, **how: Any
) -> pd.DataFrame:
    """Score a frozen encoder's probe for every budget and draw; rows with :data:`COLUMNS`.

    ``budgets`` are labels of each class (``5``), or shares of each class's labels (``"10%"``); of
    each there are so many ``draws`` (3). If ``transductive``, the encoder may have seen held-out
    audio, without labels.

    Raises:
        LeakError: The encoder was trained on held-out clips and is not ``transductive``.
    """
    heard = Heard.of(vectors, corpus, candidate.fold)

    def scores(chosen: Corpus, test: Corpus, _: Mapping[str, Any]) -> pd.DataFrame:
        probe = fit_probe(protocol, vectors, chosen, heard=heard)
        return scored_rows(
            candidate.keys(protocol), test, probe.decision_function(vectors.of(test)),
            probe.classes_, validation=probe.validation_, validation_error=probe.validation_error_,
            parameters=vectors.n_parameters, chosen_on=probe.chosen_on_,
        )[0]  # fmt: skip

    return _curve(candidate, corpus, scores, **how)


def train_with_few_labels(
    plan: Plan, corpus: Corpus, folder: Path, *, device: str = "auto", **how: Any
) -> pd.DataFrame:
    """Score end-to-end training as :func:`probe_with_few_labels` scores probes.

    ``folder`` keeps finished scores and unfinished training.
    """
    source, outputs = plan.encoder().trained, OutputFolder(folder)

    def scores(chosen: Corpus, test: Corpus, given: Mapping[str, Any]) -> pd.DataFrame:
        draw = f"{given['budget']}-{given['draw']}"
        title = f"{plan.name}, task {corpus.name}, labels {draw}"

        def build(own: Path) -> Tables:
            where: dict[str, Any] = {"folder": own / "training", "device": device, "title": title}
            seed = plan.candidate.seed
            tuned = fine_tune(source, chosen, None, plan.settings, seed=seed, **where)
            logits = tuned.head.logits(tuned.embedder.embed(test, device=device))
            found, _ = scored_rows(plan.keys(tuned), test, logits, tuned.head.classes)
            rmtree(own / "training")
            return {"scores": found}

        return outputs.tables(draw.replace("%", "percent"), given, build)["scores"]

    return _curve(plan.candidate, corpus, scores, **how)


def _curve(
    candidate: Candidate,
    corpus: Corpus,
    scores: Callable[[Corpus, Corpus, Mapping[str, Any]], pd.DataFrame],
    *,
    budgets: Sequence[Budget],
    draws: int = 3,
    transductive: bool = False,
) -> pd.DataFrame:
    """Return scores for every budget and draw, by the training clips that keep their label."""
    repeat, rows = candidate.repeat, []
    parts = checked_parts(candidate.load(), corpus, repeat.fold, transductive=transductive)
    train, test = parts["train"], parts["test"]
    for budget in budgets:
        everything = str(budget).replace(" ", "") == "100%"
        for draw in range(1 if everything else draws):
            kept = draw_labelled(train.labels, budget, draw=draw, seed=repeat.seed, kind=train.kind)
            chosen = train.take(train.clips["clip_id"].iloc[kept])
            given = {"budget": str(budget), "draw": draw, "n_labels": len(chosen)}
            if len(train.kind.classes(chosen.labels)) > 1:
                rows.append(scores(chosen, test, given).assign(**given)[list(COLUMNS)])
    return pd.concat(rows, ignore_index=True)


def labels_given(budget: Budget, available: int) -> int:
    """Return how many of a class's labels a budget gives, at least one.

    Raises:
        UserError: It is neither a positive whole number nor a percentage up to 100.

    >>> labels_given(5, 3), labels_given("10%", 40)
    (3, 4)
    """
    text = str(budget).strip()
    if text.isdecimal() and int(text) > 0:
        return min(int(text), available)
    with suppress(ValueError):
        if text.endswith("%") and 0 < (share := float(text[:-1]) / 100) <= 1:
            return max(1, round(share * available))
    raise UserError(
        f"label budget {budget!r} must be a number of labels per class, such as 5, or a share of "
        "all labels, such as 10%"
    )


def draw_labelled(
    labels: ArrayLike, budget: Budget, *, draw: int, seed: int, kind: LabelKind = SINGLE_LABEL
) -> NDArray[np.int64]:
    """Return which training clips keep their label, sorted, (M,).

    Every class gets its budget (a clip with several labels counts as one of its rarest), see
    :func:`labels_given`. A draw's smaller budgets are part of its larger ones, so that a curve over
    budgets is one of growing knowledge.
    """
    strata, chosen = kind.strata(labels), []
    for name in np.unique(strata):
        members = np.flatnonzero(strata == name)
        order = numpy_generator(seed, "label budget", draw, str(name)).permutation(members)
        chosen.append(order[: labels_given(budget, len(members))])
    return np.sort(np.concatenate(chosen))
