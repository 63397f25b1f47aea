from __future__ import annotations

import io
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest

from unfused.core import outputs, source
from unfused.core.outputs import OutputFolder
from unfused.data.log_mel import FrontEnd
from unfused.data.store import LogMelStore
from unfused.reporting import figures
from unfused.reporting.example_views import example_views
from unfused.reporting.figures.clusters import cluster_map, tsne_points
from unfused.reporting.figures.confusion import confusion_matrix, recognised
from unfused.reporting.figures.log_mels import log_mels, view_steps


def drawn(figure):
    """Draw a figure to nowhere; a warning of matplotlib's is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO(), format="png", dpi=50)
    return figure


def texts(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def blobs(n, classes, dim=16):
    generator = np.random.default_rng(0)
    label = np.arange(n) % classes
    return 5 * np.eye(dim)[label] + generator.standard_normal((n, dim)), label


def test_tsne_separates_clusters_and_repeats_itself():
    embeddings, label = blobs(90, 3)
    _, xy = tsne_points(embeddings, seed=0)
    assert xy.shape == (90, 2)
    centres = np.stack([xy[label == k].mean(0) for k in range(3)])
    nearest = ((xy[:, None] - centres) ** 2).sum(-1).argmin(1)
    assert (nearest == label).mean() > 0.95
    np.testing.assert_array_equal(xy, tsne_points(embeddings, seed=0)[1])


def test_tsne_draws_at_most_max_points():
    rows, _ = tsne_points(blobs(60, 3)[0], seed=1, max_points=20)
    assert len(rows) == len(np.unique(rows)) == 20
    assert not np.array_equal(rows, tsne_points(blobs(60, 3)[0], 2, max_points=20)[0])


@pytest.mark.parametrize("embeddings", [
    np.zeros((1, 4)), np.zeros((20, 4)), np.arange(12.0).reshape(12, 1), np.eye(3), np.eye(5),
    np.outer(np.arange(9), np.ones(4)),
])  # fmt: skip
def test_tsne_of_tiny_and_collapsed_embeddings_is_finite(embeddings):
    _, xy = tsne_points(embeddings, seed=0)
    assert xy.shape == (len(embeddings), 2)
    assert np.isfinite(xy).all()


def first_points(axes):
    """Place and colour of the first point of each class."""
    return {
        tuple(np.round(points.get_offsets()[0], 6)): tuple(points.get_facecolor()[0])
        for points in axes.collections
    }


def test_panels_of_few_classes_share_points_and_colours():
    xy = np.random.default_rng(0).standard_normal((60, 2))
    label = np.array(["bass", "brass", "ačiū"])[np.arange(60) % 3]
    cluster = (np.arange(60) + 1) % 3  # the same partition under other names
    figure = drawn(cluster_map(xy, cluster, label, n_clips=900, ami=0.987))
    assert "t-SNE of 60 of 900 clips, AMI 0.99" in texts(figure)
    left, right = figure.axes[:2]
    assert first_points(left) == first_points(right)
    assert len(set(first_points(left).values())) == 3


def test_more_than_ten_classes_have_a_picture_each_and_no_colour_twice():
    generator = np.random.default_rng(0)
    names = ["_background_noise_", "$x$", "ačiū", *(f"word {i}" for i in range(60)), None, ""]
    label = [names[i] for i in generator.integers(len(names), size=500)]
    xy, cluster = generator.standard_normal((500, 2)), generator.integers(70, size=500)
    figure = drawn(cluster_map(xy, cluster, label, ami=0.123))
    assert any("of 69 clusters; orange: of 63 classes" in text for text in texts(figure))
    panels = [axes for axes in figure.axes if axes.axison]
    assert len(panels) == 24
    for axes in panels:
        background, members = axes.collections
        assert len(background.get_offsets()) + len(members.get_offsets()) == 500
        title = axes.get_title(loc="left")
        assert title.endswith(f": {len(members.get_offsets())}")
    colours = {tuple(axes.collections[1].get_facecolor()[0]) for axes in panels}
    assert len(colours) == 2  # clusters, classes


def test_a_map_without_any_label_is_drawn():
    xy, cluster = np.random.default_rng(0).standard_normal((40, 2)), np.arange(40) % 4
    assert "t-SNE of 40 clips" in texts(drawn(cluster_map(xy, cluster, [None] * 40)))
    drawn(cluster_map(xy, np.arange(40), [np.nan] * 40))


def test_confusion_matrix_counts_clips_and_one_clip_is_no_dark_square():
    labels = ["a"] * 10 + ["b"]
    figure = drawn(confusion_matrix(labels, ["a"] * 9 + ["b", "b"]))
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), [[0.9, 0.1], [0, 0.2]])
    found = texts(figure)
    assert {"9", "1", "a (10)", "b (1)"} <= set(found)
    assert not any("%" in text for text in found)


def test_confusion_matrix_of_many_classes_says_what_it_leaves_out():
    labels = [f"speaker {i}" for i in range(100)] * 2
    figure = drawn(confusion_matrix(labels, labels[1:] + labels[:1]))
    assert figure.axes[0].images[0].get_array().shape == (30, 30)
    assert any("the 30 of 100 classes with most errors" in text for text in texts(figure))


def test_classes_of_clips_with_several_labels_are_bars():
    classes = [{"label": f"sound {i}", "recall": i / 50, "n_test": i + 1} for i in range(40)]
    figure = drawn(recognised(classes))
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths[30:] == pytest.approx([2 * i for i in range(30)])
    assert "sound 3 (4)" in texts(figure)
    assert any("the 30 weakest of 40" in text for text in texts(figure))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    generator = np.random.default_rng(0)
    clips = {f"c{i:02d}": generator.normal(-9 + i % 5, 2, (50 + 5 * i, 64)).astype("f4")
             for i in range(30)}  # fmt: skip
    return LogMelStore.write(tmp_path_factory.mktemp("store"), FrontEnd(), clips)


CLIPS = pd.DataFrame({"clip_id": [f"c{i:02d}" for i in range(30)]})
CENTROIDS = np.random.default_rng(1).normal(-9, 2, (5, 64)).astype("f4")


@pytest.mark.parametrize(
    ("views", "steps"),
    [
        ({"mixup_bank": 16}, ["crop", "partner", "mixture", "view A", "view B"]),
        ({"mixing": "k_mix", "mixup_bank": 16, "k_mix_furthest": 4},
         ["crop", "partner", "mixture", "view A", "view B"]),
        ({"mixing": "none"}, ["crop", "view A", "view B"]),
    ],
)  # fmt: skip
def test_examples_show_every_step_of_the_views(store, views, steps):
    clips = CLIPS.assign(label=[f"class {i % 3}" for i in range(30)])
    given = {"statistics": (-9.0, 3.0), "centroids": CENTROIDS, "n_examples": 4}
    examples = example_views(store, clips, views, **given)
    assert len(examples) == 4
    assert len({name.split(", ")[1] for name in examples}) == 3  # different classes first
    for images in examples.values():
        assert list(images) == steps
        assert {image.shape for image in images.values()} == {(64, 96)}
        assert not np.allclose(images["view A"], images["view B"])
    again = example_views(store, clips, views, **given)
    for name, images in examples.items():
        for step, image in images.items():
            np.testing.assert_array_equal(image, again[name][step])
    unlabelled = example_views(store, CLIPS, views, **given)
    assert not any("class" in name for name in unlabelled)


def test_a_mixture_lies_between_crop_and_partner(store):
    given = {"statistics": (-9.0, 3.0), "centroids": CENTROIDS}
    views = {"mixing": "k_mix", "mixup_bank": 16, "k_mix_furthest": 4}
    for name, images in example_views(store, CLIPS, views, **given).items():
        share = float(name.split(", ")[1].split(" ")[0]) / 100
        linear = (1 - share) * np.exp(images["crop"]) + share * np.exp(images["partner"])
        np.testing.assert_allclose(np.exp(images["mixture"]), linear, rtol=0.1, atol=0.05)


def test_steps_are_in_mel_bands_and_seconds():
    view = np.random.default_rng(0).standard_normal((64, 96))
    steps = {"crop": view, "mixture": view, "view A": view, "view B": 0 * view}
    figure = drawn(view_steps({"1, ačiū": steps, "2, bass": steps}, hop_seconds=0.01))
    images = figure.axes[:8]
    assert [axes.get_title(loc="left") for axes in images[:4]] == list(steps)
    assert [axes.get_xlabel() for axes in images] == 4 * [""] + 4 * ["seconds"]
    assert tuple(images[0].images[0].get_extent()) == (0, 0.96, 0, 64)


def test_log_mels_share_a_scale():
    clips = {"a": np.zeros((20, 8)), "b": np.ones((30, 8)), "c": np.ones((9, 8)), "d": np.eye(8)}
    figure = drawn(log_mels(clips, hop_seconds=0.1))
    images = [axes.images[0] for axes in figure.axes[:4]]
    assert len({image.get_clim() for image in images}) == 1
    assert tuple(images[1].get_extent()) == (0, 3, 0, 8)
    with pytest.raises(ValueError, match="no clip"):
        log_mels({})


CURVE = pd.DataFrame({"stage": "DECAR", "seed": 0, "step": [1, 2], "loss": [0.5, 0.25]})


@pytest.fixture
def draw(tmp_path):
    """Keep learning curves in a new folder; return their picture, and whether they were drawn."""

    def draw(table):
        outputs.OUTCOMES.clear()
        outputs._compared.clear()
        picture = figures.drawn(OutputFolder(tmp_path), "curves.learning_curves", table)
        return picture, not outputs.OUTCOMES["reused"]

    return draw


def test_a_figure_is_drawn_once(draw):
    first, drawn_now = draw(CURVE)
    assert drawn_now
    assert first.startswith(b"\x89PNG")
    assert draw(CURVE.copy()) == (first, False)


@pytest.mark.parametrize(
    "other",
    [
        CURVE.assign(loss=[0.5, 0.2]),
        CURVE.rename(columns={"loss": "std"}),
        CURVE.assign(stage="SLICER"),
    ],
)
def test_a_figure_of_something_else_is_drawn(draw, other):
    first, _ = draw(CURVE)
    second, drawn_now = draw(other)
    assert drawn_now
    assert second != first


def test_a_figure_whose_code_was_edited_is_drawn_again(draw, monkeypatch):
    first, original = draw(CURVE)[0], source._read
    for edited in ("reporting.figures.curves", "reporting.figures.style", "reporting.names"):

        def read(module, edited=edited):
            code, imports = original(module)
            return code + "\n1" * (module == edited), imports

        monkeypatch.setattr(source, "_read", read)
        assert draw(CURVE) == (first, True), edited


def test_a_damaged_picture_is_drawn_again(draw, tmp_path):
    first, _ = draw(CURVE)
    (file,) = tmp_path.rglob(figures.PICTURE)
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert draw(CURVE) == (first, True)


def test_figures_leave_matplotlib_alone():
    before = dict(matplotlib.rcParams)
    drawn(confusion_matrix(["a", "b"], ["a", "b"]))
    assert dict(matplotlib.rcParams) == before
    sources = Path(figures.__file__).parent.glob("*.py")
    assert not [path.name for path in sources if "import pyplot" in path.read_text("utf-8")]
