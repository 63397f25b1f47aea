"""Label efficiency: the same test clips, scored after learning from few labels and from many.

Few labels are few: no validation label helps to choose a penalty or an epoch. A probe is chosen by
folds inside the labels it was given, fine-tuning takes its last epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..core.errors import UserError
from ..core.outputs import OutputFolder
from ..core.repeats import Repeat
from ..core.seeding import numpy_generator
from ..tasks.corpus import Corpus
from ..tasks.label_kinds import SINGLE_LABEL, LabelKind
from .candidates import Candidate, Vectors
from .evaluation import FrozenProtocol, Plan, checked_parts, fit_probe
from .fine_tuning import fine_tune
from .results import TRAIN, RowKeys, scored_rows

COLUMNS = ("task", *RowKeys._fields, "budget", "draw", "n_labels", "metric", "value")
Budget = int | str


def few_label_work(
    probed: Sequence[Candidate],
    embeddings: Mapping[str, Path],
    trained: Sequence[Plan],
    corpus: Corpus,
    *,
    protocols: Sequence[FrozenProtocol],
    device: str = "auto",
    **how: Any,
) -> Iterator[tuple[str, dict[str, Any], Callable[[Path], dict[str, pd.DataFrame]]]]:
    """Yield what :meth:`~unfused.core.outputs.OutputFolder.tables` takes: name, made_of, build.

    Frozen encoders are probed, by the vectors of
    :func:`~unfused.probes.candidates.embed_candidates`; what is planned is trained end to end. What
    the ``rows`` are made of lacks corpus, budgets and draws. ``how`` has ``budgets``, ``draws`` and
    ``transductive`` of :func:`probe_with_few_labels`.
    """
    for candidate in probed:
        folder = embeddings[candidate.key]
        for protocol in protocols:

            def probe(
                _: Path, of: Candidate = candidate, given: Path = folder, by: Any = protocol
            ) -> dict[str, pd.DataFrame]:
                return {"rows": probe_with_few_labels(of, Vectors.load(given), corpus, by, **how)}

            made_of = {"protocol": protocol, "of": folder.name, "candidate": candidate.key}
            yield f"{candidate.key}-{protocol}", made_of, probe
    for plan in trained:

        def train(folder: Path, of: Plan = plan) -> dict[str, pd.DataFrame]:
            return {"rows": train_with_few_labels(of, corpus, folder, device=device, **how)}

        yield plan.name, {"plan": plan.identity()}, train


def probe_with_few_labels(
    candidate: Candidate,
    vectors: Vectors,
    corpus: Corpus,
    protocol: FrozenProtocol,
    *,
    budgets: Sequence[Budget],
    draws: int = 3,
    transductive: bool = False,
) -> pd.DataFrame:
    """Score a frozen encoder's probe for every budget and draw; rows with :data:`COLUMNS`.

    Budgets are labels of each class (``5``), or shares of each class's labels (``"10%"``).

    Raises:
        LeakError: The encoder was trained on held-out clips and is not ``transductive``.
    """
    parts = checked_parts(candidate.load(), corpus, candidate.fold, transductive=transductive)
    named = candidate.label, candidate.source, candidate.read_out, protocol
    keys, rows = RowKeys(*named, TRAIN, *candidate.repeat), []
    for given, chosen in _draws(parts["train"], candidate.repeat, budgets, draws):
        probe = fit_probe(protocol, vectors, chosen)
        logits = probe.decision_function(vectors.of(parts["test"]))
        found, _ = scored_rows(keys, parts["test"], logits, probe.classes_)
        rows.append(found.assign(**given)[list(COLUMNS)])
    return pd.concat(rows, ignore_index=True)


def train_with_few_labels(
    plan: Plan,
    corpus: Corpus,
    folder: Path,
    *,
    budgets: Sequence[Budget],
    draws: int = 3,
    transductive: bool = False,
    device: str = "auto",
) -> pd.DataFrame:
    """Score end-to-end training as :func:`probe_with_few_labels` scores probes.

    ``folder`` keeps finished scores and unfinished training.
    """
    source, repeat, rows = plan.encoder(), plan.candidate.repeat, []
    parts = checked_parts(source, corpus, repeat.fold, transductive=transductive)
    test = parts["test"]
    for given, chosen in _draws(parts["train"], repeat, budgets, draws):
        draw = f"{given['budget']}-{given['draw']}"

        def scores(
            own: Path, given: Any = given, chosen: Corpus = chosen, draw: str = draw
        ) -> dict[str, pd.DataFrame]:
            tuned = fine_tune(
                source.trained, chosen, None, plan.settings, folder=own / "training",
                seed=repeat.seed, device=device,
                title=f"{plan.name}, task {corpus.name}, labels {draw}",
            )  # fmt: skip
            logits = tuned.head.logits(tuned.embedder.embed(test, device=device))
            found, _ = scored_rows(plan.keys(tuned), test, logits, tuned.head.classes)
            rmtree(own / "training")
            return {"scores": found.assign(**given)[list(COLUMNS)]}

        output = draw.replace("%", "percent")
        rows.append(OutputFolder(folder).tables(output, given, scores)["scores"])
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
    try:
        share = float(text.removesuffix("%")) / 100 if text.endswith("%") else math.nan
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise UserError(
            f"label budget {budget!r} must be a number of labels per class, such as 5, or a share "
            "of all labels, such as 10%"
        )
    return max(1, round(share * available))


def draw_labelled(
    labels: ArrayLike, budget: Budget, *, draw: int, seed: int, kind: LabelKind = SINGLE_LABEL
) -> NDArray[np.int64]:
    """Return which training clips keep their label, sorted, (M,).

    Every class gets its budget (a clip with several labels counts as one of its rarest), see
    :func:`labels_given`. A draw's smaller budgets are part of its larger ones, so that a curve over
    budgets is one of growing knowledge.
    """
    strata = kind.strata(labels)
    chosen = []
    for name in np.unique(strata):
        members = np.flatnonzero(strata == name)
        order = numpy_generator(seed, "label budget", draw, str(name)).permutation(members)
        chosen.append(order[: labels_given(budget, len(members))])
    return np.sort(np.concatenate(chosen))


def _draws(
    train: Corpus, repeat: Repeat, budgets: Sequence[Budget], draws: int
) -> Iterator[tuple[dict[str, Any], Corpus]]:
    """Yield the columns of each budget and draw, and the training clips that keep their label."""
    for budget in budgets:
        everything = str(budget).replace(" ", "") == "100%"
        for draw in range(1 if everything else draws):
            rows = draw_labelled(train.labels, budget, draw=draw, seed=repeat.seed, kind=train.kind)
            chosen = train.take(train.clips["clip_id"].iloc[rows])
            if len(train.kind.classes(chosen.labels)) > 1:
                yield {"budget": str(budget), "draw": draw, "n_labels": len(chosen)}, chosen
