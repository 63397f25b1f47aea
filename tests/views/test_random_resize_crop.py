import pytest
import torch
from torch.nn import functional as F

from unfused.core.seeding import torch_generator
from unfused.views import View
from unfused.views.random_resize_crop import (
    Boxes,
    draw_boxes,
    interpolation_matrix,
    random_resize_crop,
    resize_crop,
)
from unfused.views.settings import ViewSettings


def view_of(n, *, n_mels=64, n_frames=96, spans=None):
    log_mel = torch.randn(n, 1, n_mels, n_frames, generator=torch_generator(0, "crops"))
    spans = torch.tensor(spans or [[0.0, n_frames]] * n)
    return View(log_mel, spans)


def boxes_of(*rows):
    return Boxes(*torch.tensor(rows).T)


def reference(log_mel, top, height, left, width, margin=(0, 24)):
    """Cut the box out of a zero canvas around one crop and let torch resize it."""
    n_mels, n_frames = log_mel.shape[-2:]
    canvas = F.pad(log_mel, (margin[1], margin[1], margin[0], margin[0]))
    rows = slice(top + margin[0], top + margin[0] + height)
    columns = slice(left + margin[1], left + margin[1] + width)
    size = (n_mels, n_frames)
    return F.interpolate(canvas[..., rows, columns], size=size, mode="bicubic", align_corners=True)


def test_equals_torchs_bicubic_interpolation_of_each_box():
    view = view_of(40)
    boxes = draw_boxes(view, ViewSettings(), torch_generator(1, "boxes"))
    resized = resize_crop(view, boxes).log_mel
    for i, box in enumerate(zip(*(part.tolist() for part in boxes), strict=True)):
        expected = reference(view.log_mel[i : i + 1], *box)
        torch.testing.assert_close(resized[i : i + 1], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("box", [(0, 1, 0, 1), (63, 1, -24, 144), (0, 64, -24, 57), (5, 2, 60, 60)])
def test_equals_torch_for_extreme_boxes(box):
    view = view_of(1)
    torch.testing.assert_close(
        resize_crop(view, boxes_of(box)).log_mel, reference(view.log_mel, *box), atol=1e-4, rtol=0
    )


def test_a_canvas_higher_than_the_crop():
    view, box = view_of(1), (-10, 80, 0, 96)
    expected = reference(view.log_mel, *box, margin=(10, 24))
    torch.testing.assert_close(
        resize_crop(view, boxes_of(box)).log_mel, expected, atol=1e-4, rtol=0
    )


def test_the_whole_crop_as_box_returns_the_input_exactly():
    view = view_of(3, spans=[[0.0, 96.0], [10.0, 50.0], [95.0, 96.0]])
    resized = resize_crop(view, boxes_of(*[(0, 64, 0, 96)] * 3))
    assert torch.equal(resized.log_mel, view.log_mel)
    assert torch.equal(resized.spans, view.spans)


def test_identity_ranges_return_the_input_itself():
    view = view_of(3)
    how = ViewSettings(freq_scale=(1, 1), time_scale=(1, 1))
    assert random_resize_crop(view, how, torch_generator(0, "x")) is view


def test_an_axis_with_identity_range_is_left_alone():
    view = view_of(50)
    boxes = draw_boxes(view, ViewSettings(freq_scale=(1, 1)), torch_generator(0, "x"))
    assert set(boxes.top.tolist()) == {0}
    assert set(boxes.height.tolist()) == {64}
    assert len(set(boxes.width.tolist())) > 10


def test_rows_of_the_matrix_sum_to_one_inside_the_axis():
    matrix = interpolation_matrix(torch.tensor([3, 0]), torch.tensor([7, 10]), 12, 10)
    torch.testing.assert_close(matrix.sum(2), torch.ones(2, 12))


def test_boxes_over_a_thousand_draws():
    boxes = draw_boxes(view_of(1000), ViewSettings(), torch_generator(0, "boxes"))
    assert boxes.height.min() >= int(0.6 * 64)
    assert boxes.height.max() == 64  # 1.5 x 64 is cut at the canvas
    assert (boxes.height == 64).float().mean().item() == pytest.approx(0.5 / 0.9, abs=0.05)
    assert boxes.width.min() >= int(0.6 * 96)
    assert boxes.width.max() <= 144
    assert boxes.width.float().mean().item() == pytest.approx(1.05 * 96, abs=3)
    assert boxes.top.min() >= 0
    assert (boxes.top + boxes.height).max() <= 64
    assert boxes.left.min() >= -24
    assert (boxes.left + boxes.width).max() <= 120
    assert ((boxes.left + 24) / (144 - boxes.width).clamp(min=1)).mean() == pytest.approx(
        0.5, abs=0.05
    )


def test_a_crop_without_padding_uses_the_whole_canvas():
    boxes = draw_boxes(view_of(2000), ViewSettings(time_scale=(0.6, 0.6)), torch_generator(0, "x"))
    assert set(boxes.left.tolist()) == set(range(-24, 144 - 57 - 24 + 1))


def test_a_short_clip_is_never_cut_away():
    spans = [[float(start), float(start + 20)] for start in range(77)] * 10
    view = view_of(len(spans), n_mels=8, spans=spans)
    boxes = draw_boxes(view, ViewSettings(), torch_generator(0, "x"))
    first = torch.maximum(boxes.left, view.spans[:, 0])
    end = torch.minimum(boxes.left + boxes.width, view.spans[:, 1])
    assert (end - first).min() >= 10
    mapped = resize_crop(view, boxes).spans
    assert (mapped[:, 1] > mapped[:, 0]).all()


def test_spans_follow_what_they_enclose():
    spans = [[30.0, 31.0], [60.0, 64.0]]
    view = view_of(2, n_mels=8, spans=spans)
    for i, (start, end) in enumerate(spans):
        view.log_mel[i] = 0.0
        view.log_mel[i, :, :, int(start) : int(end)] = 1.0
    boxes = boxes_of((0, 8, 10, 60), (0, 8, -20, 130))
    resized = resize_crop(view, boxes)
    for row, (start, end) in zip(resized.log_mel[:, 0, 0], resized.spans.tolist(), strict=True):
        loud = (row > 0.5).nonzero().flatten()
        assert loud.min().item() == pytest.approx(start, abs=0.75)
        assert loud.max().item() + 1 == pytest.approx(end, abs=0.75)


def test_spans_are_cut_at_the_view():
    view = view_of(1, spans=[[0.0, 96.0]])
    assert resize_crop(view, boxes_of((0, 64, 20, 58))).spans.tolist() == [[0.0, 96.0]]
    left = resize_crop(view, boxes_of((0, 64, -24, 96))).spans
    assert left.tolist() == [[24.0, 96.0]]


def test_same_generator_same_result():
    view, how = view_of(4), ViewSettings()
    first, second, other = (
        random_resize_crop(view, how, torch_generator(seed, "x")).log_mel for seed in (3, 3, 4)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_a_batch_equals_a_loop():
    view = view_of(6)
    boxes = draw_boxes(view, ViewSettings(), torch_generator(0, "x"))
    whole = resize_crop(view, boxes)
    for i in range(6):
        one = slice(i, i + 1)
        single = resize_crop(
            View(view.log_mel[one], view.spans[one]), Boxes(*(part[one] for part in boxes))
        )
        torch.testing.assert_close(single.log_mel, whole.log_mel[one], atol=1e-5, rtol=0)
        torch.testing.assert_close(single.spans, whole.spans[one])


@pytest.mark.parametrize(("left", "width"), [(0, 32), (10, 30), (4, 24)])
def test_a_span_ends_where_the_sound_does(left, width):
    """Sound that begins and ends with the span crosses half of its level at the span's edges.

    Frame f covers [f - 1/2, f + 1/2], so an edge lies half a frame before the frame that it is
    called after, on both axes; without that shift spans are off by half of (stretch - 1) frames.
    """
    first, end = 12, 20
    log_mel = torch.zeros(1, 1, 4, 96)
    log_mel[..., first:end] = 1.0
    view = View(log_mel, torch.tensor([[float(first), float(end)]]))
    resized = resize_crop(view, boxes_of((0, 4, left, width)))
    level = resized.log_mel[0, 0, 0]
    up, down = (
        (change * level[:-1] < change * 0.5) & (change * level[1:] >= change * 0.5)
        for change in (1, -1)
    )
    for crossing, edge in zip((up, down), resized.spans[0].tolist(), strict=True):
        (frame,) = crossing.nonzero().flatten().tolist()
        share = float((0.5 - level[frame]) / (level[frame + 1] - level[frame]))
        assert edge == pytest.approx(frame + share + 0.5, abs=0.12)
