"""The Python that README and docs show runs, page by page, after a run."""

import json
import os
import shutil
import subprocess
import sys

import pytest

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
RUNNER = """
import json, sys, traceback

failed = {}
for page, blocks in json.load(open(sys.argv[1], encoding="utf-8")).items():
    names = {"__name__": "snippets"}
    for block in blocks:
        try:
            exec(compile(block, page, "exec"), names)
        except Exception:
            failed[page] = block + traceback.format_exc()
            break
json.dump(failed, open(sys.argv[2], "w", encoding="utf-8"))
"""


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
    """Page -> what went wrong there, of those where something did."""
    folder = tmp_path_factory.mktemp("snippets")
    (folder / "data").symlink_to(finished.data)
    (folder / "my_sounds").symlink_to(class_folders)
    clip = next((finished.data / "01_raw").rglob("*.flac"))
    shutil.copy(clip, folder / "clip.wav")  # told by content, not by name
    for name in ("recordings", "new_recordings"):
        (folder / name).mkdir()
        shutil.copy(clip, folder / name / "dog_1.wav")
    code = {name_of(page): snippets(page) for page in WITH_CODE}
    (folder / "code.json").write_text(json.dumps(code), encoding="utf-8")
    (folder / "runner.py").write_text(RUNNER, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "runner.py", "code.json", "failed.json"],
        cwd=folder,
        env={**os.environ, "MPLBACKEND": "Agg", "XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "failed.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_snippets_run(page, failed):
    assert name_of(page) not in failed, failed[name_of(page)]


def test_the_reasons_are_of_blocks_that_are_shown():
    everything = "".join(block for page in PAGES for block in blocks(page, "python"))
    assert all(words in everything for words in NOT_RUN)
