from __future__ import annotations

import logging
from typing import Any

import pandas as pd
import pytest

from unfused.training.history import signs_of_collapse, warn_of_collapse

HEALTHY = {
    "std": [0.1, 0.8],
    "effective_rank": [1.0, 12.0],
    "queue_similarity": [0.99, 0.3],
    "cluster_perplexity": [1.0, 40.0],
    "prototype_perplexity": [1.0, 1.0],
    "loss": [5.0, 0.0],
}


def test_a_run_is_judged_by_its_end() -> None:
    assert signs_of_collapse(pd.DataFrame(HEALTHY), 64) == []


@pytest.mark.parametrize(
    ("name", "value", "sign"),
    [
        ("std", 0.001, "std 0.001 (all embeddings are one point)"),
        ("effective_rank", 1.2, "effective rank 1.2 (all embeddings lie on one line)"),
        ("queue_similarity", 0.995, "queue similarity 0.995 (all keys point one way)"),
        ("cluster_perplexity", 1.04, "cluster perplexity 1.04 (all clips are in one cluster)"),
    ],
)
def test_each_number_may_show_a_collapse(name: str, value: float, sign: str) -> None:
    history = pd.DataFrame({**HEALTHY, name: [HEALTHY[name][1], value]})
    assert signs_of_collapse(history, 64) == [sign]
    alone = history[[name, "loss"]]  # not every method has every number
    assert signs_of_collapse(alone, 64) == [sign]
    assert signs_of_collapse(alone, 8) == []


def test_keys_in_a_narrow_cone_are_no_collapse() -> None:
    """Of unit keys whose mean cosine is 0.96, the nearest one is still told apart."""
    assert signs_of_collapse(pd.DataFrame({**HEALTHY, "queue_similarity": [0.99, 0.96]}), 64) == []


def test_rows_without_the_number_do_not_hide_it() -> None:
    """DECAR's clusters are counted once an epoch."""
    perplexity = [1.2, None, None]
    assert signs_of_collapse(pd.DataFrame({"cluster_perplexity": perplexity}), 64)
    assert not signs_of_collapse(pd.DataFrame({"std": [None, None]}, dtype=float), 64)
    assert not signs_of_collapse(pd.DataFrame(), 64)


def test_the_warning_names_signs_and_remedies(caplog: Any) -> None:
    with caplog.at_level(logging.WARNING):
        warn_of_collapse([])
        assert not caplog.text
        warn_of_collapse(["std 0 (all embeddings are one point)", "queue similarity 1 (x)"])
    assert "has collapsed: std 0 (all embeddings are one point), queue similarity 1" in caplog.text
    assert "lower learning_rate" in caplog.text
