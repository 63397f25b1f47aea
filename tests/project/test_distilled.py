"""A method that learns the vectors of an encoder from outside, in a whole run."""

import pandas as pd
import pytest
from kedro.validation.exceptions import ParameterValidationError

from unfused.core.errors import UserError

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
        ({"methods.distilled.settings": {"teacher": "nobody"}}, "settings.teacher='nobody'"),
        ({"methods.distilled.settings": {"teacher": None}}, "names no teacher"),
        ({"methods.distilled.settings.blocs": []}, "settings.blocs"),
        ({"methods.distilled.settings.learning_rate": 0.1}, "learning_rate"),
        ({"methods.distilled.settings.blocks": ["fc3"]}, "fc3"),
        ({"methods.distilled.settings.crop_frames": "many"}, "crop_frames"),
        ({"methods.distilled.settings.whiten": -3}, "whiten"),
        ({"methods.distilled.encoder": {"name": "conformer"}}, "methods.distilled: .*block3"),
        ({"methods.distilled.views": {"mixing": "k_mix", "mixup_bank": 256}}, "centroids"),
        ({"evaluation.teachers": ["nobody"]}, "evaluation.teachers='nobody'"),
        ({"teachers.somebody": "mfcc_statistics"}, "teachers.somebody='mfcc_statistics'"),
        ({"teachers.other": {"kind": "hear", "module": "not_there"}}, "not_there"),
        ({"teachers.other": {"kind": "joined", "parts": [PLAIN, PLAIN], "nmae": ""}}, "nmae"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(project, class_folders, changed, named):
    project.params |= {
        "data": str(class_folders),
        "teacher": "distilled",
        "teachers.somebody": PLAIN,
        "teachers.other": PLAIN,
        "evaluation.teachers": ["other"],
        "methods.distilled.settings.teacher": "somebody",
        **changed,
    }
    if "methods.distilled.settings" in changed:
        project.params.pop("methods.distilled.settings.teacher")
    refused = UserError, ParameterValidationError  # sessions from Python hear Kedro's check
    with pytest.raises(refused, match=named):
        project.run()
    assert not list((project.data / "03_primary").glob("*/manifest.parquet"))
