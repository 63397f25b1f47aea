"""A new method is one file in ``methods/`` and one entry: those of docs/howto/add_a_method.md."""

import shutil
import sys

import pytest
from kedro.framework.project import pipelines

import unfused.methods
from unfused import Corpus, load_encoder

from .docs_pages import blocks

SHORT = {"methods.agree.training.clip_updates": 16, "methods.agree.training.batch_size": 8}


@pytest.fixture
def page(project_root):
    return project_root / "docs/howto/add_a_method.md"


@pytest.fixture
def file(page, tmp_path, monkeypatch):
    """The file, where the registry of methods looks."""
    package = tmp_path / "methods"
    package.mkdir()
    (package / "agree.py").write_text(blocks(page, "python")[0], encoding="utf-8")
    monkeypatch.setattr(unfused.methods, "__path__", [*unfused.methods.__path__, str(package)])
    yield package / "agree.py"
    sys.modules.pop("unfused.methods.agree", None)


@pytest.fixture
def configuration(project, page, file, tmp_path):
    """The file and the entry."""
    conf = tmp_path / "conf"
    shutil.copytree(project.root / "conf", conf)
    entry = conf / "test/parameters/agree.yml"
    entry.write_text(blocks(page, "yaml")[0], encoding="utf-8")
    project.params.update(SHORT)
    return str(conf)


def test_it_is_an_estimator(page, file, class_folders):
    names = {}
    exec(blocks(page, "python")[1], names)
    model = names["model"]
    assert isinstance(model, unfused.Agree)
    assert (model.width, model.clip_updates) == (128, 10_000)
    corpus = Corpus(class_folders)
    encoder = model.set_params(clip_updates=16, batch_size=8).fit(corpus.unlabelled).encoder_
    assert encoder.provenance["method"] == "agree"
    assert encoder.provenance["parameters"]["method"] == {"width": 128}


def test_it_has_a_pipeline_and_can_be_the_teacher(project, class_folders, configuration):
    project.params["data"] = str(class_folders)
    assert "agree" in unfused.methods.available()
    with project.session(conf=configuration) as session:
        session.load_context()
        assert {"agree", "decar"} <= set(pipelines)
    project.run("agree", conf=configuration)
    encoder = load_encoder(project.folder_of("agree/agree-seed0"))
    assert encoder.facts["method"] == "agree"
    assert encoder.facts["parameters"]["method"] == {"width": 128}
    project.run(to=["results"], conf=configuration)
    results = project.table("07_model_output/results.parquet")
    assert {"agree", "unfused", "random_init"} <= set(results["encoder"])
    assert "decar" not in set(results["encoder"])


def test_its_settings_are_checked(project, class_folders, configuration):
    misspelt = {"methods.agree.settings.widht": 64, "data": str(class_folders)}
    with pytest.raises(Exception, match=r"'widht' is no setting of agree.*'width'"):
        project.run("agree", conf=configuration, **misspelt)
