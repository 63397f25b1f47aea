"""Which parameters tell runs apart."""

from __future__ import annotations

from unfused.reporting.run_comparison import different_parameters


def test_only_what_may_decide_a_result_tells_runs_apart() -> None:
    def run(number: int) -> dict[str, object]:
        return {
            "run": {"seeds": [number], "tracking": number, "device": number},
            "extraction": {"n_jobs": number},
            "methods": {"decar": {"training": {"log_every": number, "learning_rate": number}}},
            "model": {"folder": number},
            "classify": {"top_k": number},
            "demo": {"expected": number, "n_notes": number},
        }

    found = different_parameters({"a": run(1), "b": run(2)})
    names = {"run.seeds", "methods.decar.training.learning_rate", "demo.n_notes"}
    assert set(found["a"]) == set(found["b"]) == names
