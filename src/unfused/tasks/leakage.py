"""The guard against evaluating an encoder on clips that it was trained on."""

from __future__ import annotations

import pandas as pd

from ..core.errors import UserError
from ..data.manifest import same_audio


class LeakError(UserError):
    """An encoder is about to be evaluated on clips that it was trained on."""


def check_no_leak(trained_on: pd.DataFrame, evaluated: pd.DataFrame) -> None:
    """Refuse to evaluate an encoder on audio that it has seen.

    The same audio under another name or in another corpus counts: files are compared by digest.
    Where both tables have ``offset`` and ``frames``, only overlapping parts of a file count.

    Args:
        trained_on: Clips the encoder, its normalisation or its pseudo-labels were made from, with
            columns clip_id, digest and perhaps corpus.
        evaluated: Validation and test clips, with columns clip_id and digest.

    Raises:
        LeakError: A clip stands in both; the message names the first few.
        UserError: A column is missing.
    """
    for name, table in (("trained_on", trained_on), ("evaluated", evaluated)):
        if missing := sorted({"clip_id", "digest"} - set(table)):
            raise UserError(f"{name} lacks the columns {missing}; it has {list(table.columns)}")
    leaked = evaluated["clip_id"].isin(trained_on["clip_id"]) | same_audio(evaluated, trained_on)
    seen = evaluated[leaked]
    if seen.empty:
        return
    same = trained_on["clip_id"].isin(seen["clip_id"]) | trained_on["digest"].isin(seen["digest"])
    corpora = sorted(set(trained_on.loc[same, "corpus"])) if "corpus" in trained_on else []
    where = f" (trained on: {', '.join(map(str, corpora))})" if corpora else ""
    raise LeakError(
        f"the encoder was trained on {len(seen)} of the {len(evaluated)} clips it is evaluated on, "
        f"such as {', '.join(seen['clip_id'].astype(str).head(3))}{where}; train without them, or "
        "mark the evaluation as transductive"
    )
