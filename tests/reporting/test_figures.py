from __future__ import annotations

import io
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest

from unfused.reporting import figures
from unfused.reporting.aggregate import summarise
from unfused.reporting.figures import (
    CAPTIONS,
    augmentation_views,
    confusion_matrix,
    learning_curves,
    score_bars,
    tsne_points,
    tsne_pseudo_labels,
)


def drawn(figure):
    """Render it, any warning (a missing glyph, a layout that collapses) being an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=40)
    assert buffer.getvalue()[:8] == b"\x89PNG\r\n\x1a\n"
    return figure


def texts(figure):
    found = figure.findobj(matplotlib.text.Text)
    return [text.get_text() for text in found if text.get_text()]


def blobs(n, classes, dim=16):
    generator = np.random.default_rng(0)
    label = np.arange(n) % classes
    return 5 * np.eye(dim)[label] + generator.standard_normal((n, dim)), label


def test_tsne_separates_clusters_and_repeats_itself():
    embeddings, label = blobs(90, 3)
    points = tsne_points(embeddings, seed=0)
    assert points.xy.shape == (90, 2)
    centres = np.stack([points.xy[label == k].mean(0) for k in range(3)])
    nearest = ((points.xy[:, None] - centres) ** 2).sum(-1).argmin(1)
    assert (nearest == label).mean() > 0.95
    np.testing.assert_array_equal(points.xy, tsne_points(embeddings, seed=0).xy)


def test_tsne_draws_at_most_max_points():
    points = tsne_points(blobs(60, 3)[0], seed=1, max_points=20)
    assert len(points.rows) == len(np.unique(points.rows)) == 20
    assert not np.array_equal(points.rows, tsne_points(blobs(60, 3)[0], 2, max_points=20).rows)


@pytest.mark.parametrize("embeddings", [
    np.zeros((1, 4)), np.zeros((20, 4)), np.arange(12.0).reshape(12, 1), np.eye(3), np.eye(5),
    np.outer(np.arange(9), np.ones(4)),
])  # fmt: skip
def test_tsne_of_tiny_and_collapsed_embeddings_is_finite(embeddings):
    points = tsne_points(embeddings, seed=0)
    assert points.xy.shape == (len(embeddings), 2)
    assert np.isfinite(points.xy).all()


def test_tsne_refuses_what_it_cannot_place():
    with pytest.raises(ValueError, match="NaN or infinity"):
        tsne_points(np.full((5, 3), np.nan), seed=0)
    with pytest.raises(ValueError, match=r"\(0, 3\)"):
        tsne_points(np.zeros((0, 3)), seed=0)


def first_points(axes):
    """Place and colour of the first point of each class."""
    return {
        tuple(np.round(points.get_offsets()[0], 6)): tuple(points.get_facecolor()[0])
        for points in axes.collections
    }


def test_pseudo_label_panels_share_points_and_colours():
    xy = np.random.default_rng(0).standard_normal((60, 2))
    label = np.array(["bass", "brass", "ačiū"])[np.arange(60) % 3]
    cluster = (np.arange(60) + 1) % 3  # the same partition under other names
    figure = drawn(tsne_pseudo_labels(xy, cluster, label, task="families", n_clips=900, nmi=0.987))
    assert "families: t-SNE of 60 of 900 clips, NMI 0.99" in texts(figure)
    left, right = figure.axes[:2]
    assert first_points(left) == first_points(right)


def test_pseudo_label_map_takes_many_odd_and_missing_labels():
    generator = np.random.default_rng(0)
    names = ["_background_noise_", "$x$", "ačiū", *(f"word {i}" for i in range(60)), None]
    label = [names[i] for i in generator.integers(len(names), size=500)]
    xy, cluster = generator.standard_normal((500, 2)), generator.integers(70, size=500)
    figure = drawn(tsne_pseudo_labels(xy, cluster, label, task="words", nmi=0.123))
    found = texts(figure)
    assert "words: t-SNE of 500 clips, NMI 0.12" in found
    assert {"unlabelled", "others"} <= set(found)
    assert "_background_noise_" in found
    unlabelled = drawn(tsne_pseudo_labels(xy, cluster, [None] * 500, task="words"))
    assert "words: t-SNE of 500 clips" in texts(unlabelled)


def test_pseudo_label_map_says_on_how_many_clips_nmi_was_measured():
    xy, cluster = np.random.default_rng(0).standard_normal((40, 2)), np.arange(40) % 2
    label = ["a", "b"] * 20
    some, of_all, drawn_only = (
        texts(tsne_pseudo_labels(xy, cluster, label, task="own", n_clips=900, **given))
        for given in ({"nmi": 0.29, "n_labelled": 69}, {"nmi": 0.29, "n_labelled": 900}, {})
    )
    assert "own: t-SNE of 40 of 900 clips, NMI 0.29 on 69 labelled clips" in some
    assert "own: t-SNE of 40 of 900 clips, NMI 0.29" in of_all
    assert "own: t-SNE of 40 of 900 clips, NMI 1.00 on 40 labelled clips" in drawn_only


def metrics(seeds=(0, 1), steps=30):
    return pd.DataFrame([
        {"stage": stage, "seed": seed, "step": step, "epoch": 0, "loss": 1 / (step + 1),
         "clips_per_second": 99.0,
         "effective_rank": np.nan if stage == "supervised" else 9.0, "learning_rate": 0.1}
        for stage in ("teacher", "supervised") for seed in seeds for step in range(steps)
    ])  # fmt: skip


def test_learning_curves_have_a_line_per_seed_and_only_panels_with_data():
    figure = drawn(learning_curves(metrics()))
    panels = [axes for axes in figure.axes if axes.lines]
    assert len(panels) == 3 + 2
    assert all(len(axes.lines) == 2 for axes in panels)
    assert {"loss", "effective rank", "learning rate", "seed 1"} <= set(texts(figure))
    assert "epoch" not in texts(figure)
    drawn(learning_curves(metrics(seeds=range(12), steps=1)))


def test_learning_curves_refuse_what_they_cannot_draw():
    with pytest.raises(ValueError, match=r"lack the columns \['stage'\]"):
        learning_curves(metrics().drop(columns="stage"))
    with pytest.raises(ValueError, match="no numeric column"):
        learning_curves(metrics()[["stage", "seed", "step"]])


def test_augmentation_views_are_in_mel_bands_and_seconds():
    view = np.random.default_rng(0).standard_normal((64, 96))
    steps = {"log-mel crop": view, "mixup": view, "view A": view, "view B": 0 * view}
    figure = drawn(augmentation_views({"ačiū": steps, "bass": steps}, hop_seconds=0.01))
    images = figure.axes[:8]
    assert [axes.get_title(loc="left") for axes in images[:4]] == list(steps)
    assert [axes.get_xlabel() for axes in images] == 4 * [""] + 4 * ["seconds"]
    assert tuple(images[0].images[0].get_extent()) == (0, 0.96, 0, 64)
    with pytest.raises(ValueError, match="'bass' has the steps"):
        augmentation_views({"flute": steps, "bass": {"mixup": view}})
    with pytest.raises(ValueError, match="empty"):
        augmentation_views({})


def test_confusion_matrix_shows_shares_and_counts():
    figure = drawn(confusion_matrix(["a", "a", "a", "b"], ["a", "a", "b", "b"]))
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), [[2 / 3, 1 / 3], [0, 1]])
    assert {"67%\n2", "33%\n1", "100%\n1"} <= set(texts(figure))


def test_confusion_matrix_of_many_classes_says_what_it_leaves_out():
    labels = [f"speaker {i}" for i in range(100)] * 2
    figure = drawn(confusion_matrix(labels, labels[1:] + labels[:1], title="t " * 90))
    assert figure.axes[0].images[0].get_array().shape == (45, 45)
    assert any("the 45 of 100 classes with most errors" in text for text in texts(figure))


def test_bars_show_every_encoder_of_every_task(experiment):
    summary = summarise(*experiment(("a", "b"), n_test=60), n_draws=50)
    figure = drawn(score_bars(summary))
    panels = [axes for axes in figure.axes if axes.patches]
    assert [len(axes.patches) for axes in panels] == [11, 11]
    assert panels[0].get_title(loc="left") == "a (60 clips)"
    with pytest.raises(ValueError, match="protocol='fine_tuning'"):
        score_bars(summary, protocol="fine_tuning")


def test_figures_leave_matplotlib_alone():
    before = dict(matplotlib.rcParams)
    drawn(confusion_matrix(["a", "b"], ["a", "b"]))
    assert dict(matplotlib.rcParams) == before
    sources = Path(figures.__file__).parent.glob("*.py")
    assert not [path.name for path in sources if "import pyplot" in path.read_text("utf-8")]


def test_figures_have_captions():
    explained = {"tsne_pseudo_labels", "learning_curves", "augmentation_views", "confusion_matrix"}
    assert explained <= set(CAPTIONS)
    assert min(map(len, CAPTIONS.values())) > 100
