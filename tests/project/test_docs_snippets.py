"""The Python that README and docs show runs, page by page, after a run."""

import os
import shutil
import traceback
from contextlib import chdir
from unittest import mock

import pytest

from unfused.tasks.layouts import available
from unfused.tasks.layouts.layout import LAYOUTS

from .docs_pages import PAGES, blocks, name_of

NOT_RUN = {  # what stands in a block -> why it is not run here
    "%load_ext": "needs IPython; tests/project/test_notebooks.py runs the same",
    "run_comparison.csv": "needs several named runs; tests/project/test_runs.py makes them",
    "somebodys_model": "needs an encoder from elsewhere; tests/embeddings/test_outside.py",
    'estimator("agree")': "needs the page's file among methods; tests/project/test_new_method.py",
    "slicer.ckpt": "needs files that are not here; tests/encoders/test_published.py makes some",
}
SHORTER = {
    "clip_updates=20_000": "clip_updates=64",
    "clip_updates=200_000": "clip_updates=64",
    "UnFuSeD(teacher, n_clusters=10)": "UnFuSeD(teacher, n_clusters=10, clip_updates=64)",
}


def snippets(page):
    """Return the blocks of a page that are run."""
    found = [
        block for block in blocks(page, "python") if not any(words in block for words in NOT_RUN)
    ]
    for long, short in SHORTER.items():
        found = [block.replace(long, short) for block in found]
    return found


WITH_CODE = [page for page in PAGES if snippets(page)]


@pytest.fixture(scope="module")
def failed(finished, class_folders, tmp_path_factory):
    """Page -> what went wrong there; None where nothing did."""
    folder = tmp_path_factory.mktemp("snippets")
    (folder / "data").symlink_to(finished.data)
    (folder / "my_sounds").symlink_to(class_folders)
    clip = next((finished.data / "01_raw").rglob("*.flac"))
    shutil.copy(clip, folder / "clip.wav")  # told by content, not by name
    for name in ("recordings", "new_recordings"):
        (folder / name).mkdir()
        shutil.copy(clip, folder / name / "dog_1.wav")
    cache = {"XDG_CACHE_HOME": str(folder / "cache")}
    available()  # all are known; a page adds a layout, which other tests must not see
    with chdir(folder), mock.patch.dict(os.environ, cache), mock.patch.dict(LAYOUTS):
        return {name_of(page): failure(page) for page in WITH_CODE}


def failure(page):
    """Run a page's blocks one after the other, and return what went wrong, if anything did."""
    names = {"__name__": "snippets"}
    for block in snippets(page):
        try:
            exec(compile(block, name_of(page), "exec"), names)
        except Exception:
            return block + traceback.format_exc()
    return None


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_snippets_run(page, failed):
    assert failed[name_of(page)] is None, failed[name_of(page)]


def test_the_reasons_are_of_blocks_that_are_shown():
    everything = "".join(block for page in PAGES for block in blocks(page, "python"))
    assert all(words in everything for words in NOT_RUN)
