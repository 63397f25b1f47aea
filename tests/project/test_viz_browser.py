"""The static site of Kedro-Viz, built after a run and looked at in a browser."""

import json

import pytest

from .browser import browser, installed, served
from .test_viz import LAYERS

STAGES = ["data_engineering", "pretraining", "unfused", "evaluation", "reporting"]
OF_KEDRO_VIZ = ("fonts.googleapis.com", "/api/metadata", "metadata fetch error")
"""What every static site of Kedro-Viz asks for in vain, whatever the project."""
PANEL = ".pipeline-metadata"
PANEL_TEXT = f"(document.querySelector('{PANEL}')?.innerText ?? '')"

pytestmark = pytest.mark.skipif(installed() is None, reason="no Chromium or Chrome is installed")


@pytest.fixture(scope="module")
def ids(site):
    """Name of each node -> its name in addresses."""
    graph = json.loads((site / "api" / "main").read_text(encoding="utf-8"))
    return {node["name"]: node["id"] for node in graph["nodes"]}


@pytest.fixture(scope="module")
def page(site, tmp_path_factory):
    with served(site) as address, browser(tmp_path_factory.mktemp("profile")) as page:
        page.address = address
        yield page


def test_a_newcomer_finds_stages_descriptions_and_sounds(page, ids):
    page.open(page.address)
    page.until(f"document.querySelectorAll('.pipeline-node').length > {len(STAGES)}")
    drawn = page.run("[...document.querySelectorAll('.pipeline-node')].map(n => n.dataset.id)")
    assert set(STAGES) <= set(drawn)
    assert ids["cluster_pseudo_labels"] not in drawn  # it is folded away
    layers = layers_of(page)
    assert layers == [name for name in LAYERS if name in layers]
    assert {"corpora", "teachers", "pseudo-labels", "report"} <= set(layers)

    look_at(page, ids["cluster_pseudo_labels"])
    page.until(f"document.querySelector('.pipeline-node[data-id=\"{ids['scan_audio']}\"]')")
    page.until(f"{PANEL_TEXT}.includes('Clips that sound alike')")
    assert layers_of(page) == LAYERS

    look_at(page, ids["demo_corpus"])
    page.until(f"{PANEL_TEXT}.includes('twelve instruments')")
    page.until(f"document.querySelector('{PANEL} audio')?.duration > 0.5")  # it can be played

    look_at(page, ids["instrument.tsne_pseudo_labels"])
    page.until(f"document.querySelector('{PANEL} img')?.naturalWidth > 300")
    assert [error for error in page.errors if not any(k in error for k in OF_KEDRO_VIZ)] == []


def layers_of(page):
    """Return the names of the layers that are drawn, in their order."""
    names = "[...document.querySelectorAll('.pipeline-layer-name')]"
    return page.run(f"{names}.map(n => n.textContent)")


def look_at(page, node):
    """Open the panel of a node, with every stage unfolded."""
    page.open(f"{page.address}/?pid=__default__&sid={node}&expandAllPipelines=true")
    page.until(f"document.querySelector('{PANEL} {PANEL}__title, {PANEL} h2')")
