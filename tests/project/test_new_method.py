"""A new method is one file in ``methods/`` and one entry: those of docs/howto/add_a_method.md."""

import re
import shutil
import sys

import pytest
from kedro.framework.project import pipelines

import unfused.methods
from unfused import load_encoder

SHORT = {"methods.agree.training.clip_updates": 16, "methods.agree.training.batch_size": 8}


def block(page, language):
    """Return the first code block in a language."""
    return re.search(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE).group(1)


@pytest.fixture
def configuration(project, tmp_path, monkeypatch):
    """The file and the entry."""
    package, conf = tmp_path / "methods", tmp_path / "conf"
    package.mkdir()
    page = (project.root / "docs/howto/add_a_method.md").read_text(encoding="utf-8")
    (package / "agree.py").write_text(block(page, "python"), encoding="utf-8")
    monkeypatch.setattr(unfused.methods, "__path__", [*unfused.methods.__path__, str(package)])
    shutil.copytree(project.root / "conf", conf)
    (conf / "test/parameters/agree.yml").write_text(block(page, "yaml"), encoding="utf-8")
    project.params.update(SHORT)
    yield str(conf)
    sys.modules.pop("unfused.methods.agree", None)


def test_it_has_a_pipeline_and_can_be_the_teacher(project, class_folders, configuration):
    project.params["data"] = str(class_folders)
    assert "agree" in unfused.methods.available()
    with project.session(conf=configuration) as session:
        session.load_context()
        assert {"agree", "decar"} <= set(pipelines)
    project.run("agree", conf=configuration)
    encoder = load_encoder(project.folder_of("agree/agree-seed0"))
    assert encoder.provenance["method"] == "agree"
    assert encoder.provenance["parameters"]["method"] == {"width": 128}
    project.run(to=["results"], conf=configuration)
    results = project.table("07_model_output/results.parquet")
    assert {"agree", "unfused", "random_init"} <= set(results["encoder"])
    assert "decar" not in set(results["encoder"])


def test_its_settings_are_checked(project, class_folders, configuration):
    misspelt = {"methods.agree.settings.widht": 64, "data": str(class_folders)}
    with pytest.raises(Exception, match=r"'widht' is no setting of agree.*'width'"):
        project.run("agree", conf=configuration, **misspelt)
