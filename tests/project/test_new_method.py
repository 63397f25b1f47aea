"""A new method is one file in ``methods/`` and one entry in the configuration."""

import shutil
import sys

import pytest
from kedro.framework.project import pipelines

import unfused.methods
from unfused import load_encoder

FILE = '''
"""Agreement of two views, with a variance floor."""

import torch
from torch.nn import functional as F

from unfused.methods.method import Method


class Agreement(Method):
    name = "agreement"

    def __init__(self, encoder, *, weight: float = 1.0, crop_frames: int = 96) -> None:
        super().__init__()
        self.encoder, self.weight = encoder, weight
        self.n_views, self.crop_frames = 2, crop_frames

    def forward(self, views, clip_ids):
        z_a, z_b = (self.encoder(view.log_mel, view.spans).float() for view in views)
        loss = F.mse_loss(z_a, z_b) + self.weight * F.relu(1 - z_a.std(dim=0)).mean()
        return loss, {"loss": loss.detach()}
'''
ENTRY = """
teacher: agreement
methods:
  agreement:
    name: agreement
    settings: {weight: 2.0}
    training: {clip_updates: 16, batch_size: 8, learning_rate: 0.001, precision: fp32}
"""


@pytest.fixture
def configuration(project, tmp_path, monkeypatch):
    """The file and the entry."""
    package, conf = tmp_path / "methods", tmp_path / "conf"
    package.mkdir()
    (package / "agreement.py").write_text(FILE)
    monkeypatch.setattr(unfused.methods, "__path__", [*unfused.methods.__path__, str(package)])
    shutil.copytree(project.root / "conf", conf)
    (conf / "test/parameters/agreement.yml").write_text(ENTRY)
    yield str(conf)
    sys.modules.pop("unfused.methods.agreement", None)


def test_it_has_a_pipeline_and_can_be_the_teacher(project, class_folders, configuration):
    project.params["data"] = str(class_folders)
    assert "agreement" in unfused.methods.available()
    with project.session(conf=configuration) as session:
        session.load_context()
        assert {"agreement", "decar"} <= set(pipelines)
    project.run("agreement", conf=configuration)
    encoder = load_encoder(project.data / "06_models/agreement/seed0-fold0")
    assert encoder.provenance["method"] == "agreement"
    assert encoder.provenance["parameters"]["method"] == {"weight": 2.0}
    project.run(to=["results"], conf=configuration)
    results = project.table("07_model_output/results.parquet")
    assert {"agreement", "unfused", "random_init"} <= set(results["encoder"])
    assert "decar" not in set(results["encoder"])


def test_its_settings_are_checked(project, class_folders, configuration):
    misspelt = {"methods.agreement.settings.wieght": 1.0, "data": str(class_folders)}
    with pytest.raises(Exception, match=r"'wieght' is no setting of agreement.*'weight'"):
        project.run("agreement", conf=configuration, **misspelt)
