"""A method that learns the vectors of an encoder from outside, in a whole run."""

import pandas as pd
import pytest

PLAIN = {"kind": "mfcc_statistics", "n_mfcc": 8}


def test_it_is_pretrained_teaches_and_stands_beside_what_it_learnt_from(project, class_folders):
    project.params |= {
        "data": str(class_folders),
        "teacher": "distilled",
        "teachers": {"somebody": PLAIN},
        "methods.distilled.settings": {"teacher": "somebody"},
    }
    project.run()
    results = project.table("07_model_output/results.parquet")
    assert {"somebody", "distilled", "unfused", "random_init"} <= set(results["encoder"])
    folder = next((project.data / "06_models").glob("embedding_distillation/*/full"))
    heard = pd.read_parquet(folder / "trained_on.parquet")
    splits = project.table("05_model_input/pretraining_corpus/splits.parquet")
    assert set(heard["clip_id"]) == set(splits["clip_id"])
    table = (project.data / "08_reporting/lape_table.md").read_text()
    assert "Distilled encoder teacher" in table


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (
            {"methods.distilled.settings": {"teacher": "nobody"}},
            "methods.distilled.settings.teacher",
        ),
        ({"methods.distilled.settings": {"teacher": "somebody", "blocs": []}}, "blocs"),
        ({"evaluation.teachers": ["nobody"]}, "evaluation.teachers='nobody'"),
        ({"teachers": {"somebody": {"kind": "hear", "module": "not_there"}}}, "not_there"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(project, class_folders, changed, named):
    project.params |= {
        "data": str(class_folders),
        "teachers": {"somebody": PLAIN},
        "evaluation.teachers": ["somebody"],
        "methods.distilled.settings": {"teacher": "somebody"},
        **changed,
    }
    with pytest.raises(Exception, match=named):
        project.run()
    assert not list((project.data / "03_primary").glob("*/manifest.parquet"))
