import torch

from unfused.core.seeding import torch_generator
from unfused.views import View, ViewMaker
from unfused.views.effects import hidden, spec_augment
from unfused.views.settings import ViewSettings

N_MELS, N_FRAMES = 12, 40


def view_of(n=6, first=0.0, end=N_FRAMES):
    ones = torch.ones(n, 1, N_MELS, N_FRAMES)
    return View(ones, torch.tensor([[first, end]]).expand(n, 2))


def test_by_hand():
    starts, widths = torch.tensor([[0.0, 3.0], [1.0, 2.0]]), torch.tensor([[1.0, 2.0], [2.0, 0.0]])
    assert hidden(5, starts, widths).int().tolist() == [[1, 0, 0, 1, 1], [0, 1, 1, 0, 0]]


def test_without_masks_nothing_changes_and_nothing_is_drawn():
    generator = torch_generator(0, "x")
    before, view = generator.get_state(), view_of()
    assert torch.equal(spec_augment(view, ViewSettings(), generator).log_mel, view.log_mel)
    assert torch.equal(generator.get_state(), before)


def test_whole_bands_are_hidden_and_no_wider_than_asked():
    view = view_of(1000)
    how = ViewSettings(freq_masks=2, freq_mask_width=3, time_masks=1, time_mask_width=8)
    log_mel, spans = spec_augment(view, how, torch_generator(0, "x"))
    assert set(log_mel.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(spans, view.spans)
    rows, columns = (log_mel[:, 0] == 0).all(dim=2), (log_mel[:, 0] == 0).all(dim=1)
    assert torch.equal(log_mel[:, 0] == 0, rows[:, :, None] | columns[:, None])
    assert rows.sum(dim=1).max() == 6  # two bands of three
    assert columns.sum(dim=1).max() == 8


def test_widths_and_places_are_uniform():
    n = 8000
    how = ViewSettings(time_masks=1, time_mask_width=4)
    log_mel, _ = spec_augment(view_of(n), how, torch_generator(0, "x"))
    columns = (log_mel[:, 0, 0] == 0).float()
    widths = columns.sum(dim=1)
    shares = torch.bincount(widths.long()) / n
    torch.testing.assert_close(shares, torch.full((5,), 0.2), atol=0.03, rtol=0)
    single = columns[widths == 1].mean(dim=0) * N_FRAMES
    torch.testing.assert_close(single.mean(), torch.tensor(1.0))
    assert 0.4 < single.min() < single.max() < 1.8  # 40 frames a clip each, binomial


def test_bands_of_frames_lie_in_the_real_audio_and_leave_half_of_it():
    view = view_of(500, first=10.5, end=17.0)
    how = ViewSettings(time_masks=1, time_mask_width=30)
    log_mel, _ = spec_augment(view, how, torch_generator(0, "x"))
    columns = (log_mel[:, 0] == 0).all(dim=1)
    assert columns.sum(dim=1).max() == 3  # of the 6 whole frames
    touched = columns.any(dim=0).nonzero().squeeze(1)
    assert (touched.min(), touched.max()) == (11, 16)
    nothing = view_of(50, first=3.0, end=3.0)
    masked, _ = spec_augment(nothing, ViewSettings(time_masks=2), torch_generator(0, "x"))
    assert torch.equal(masked, nothing.log_mel)


def test_crops_are_masked_independently_of_their_batch():
    """A crop whose draw is known is masked by it alone: the batch is a loop."""
    starts, widths = torch.rand(2, 7, 3).mul(8).floor()
    whole = hidden(20, starts, widths)
    for i in range(7):
        for row in range(20):
            inside = (starts[i] <= row) & (row < starts[i] + widths[i])
            assert whole[i, row] == inside.any()


def test_the_same_generator_gives_the_same_masks():
    how = ViewSettings(freq_masks=2, freq_mask_width=4, time_masks=2, time_mask_width=10)
    one, two, other = (
        spec_augment(view_of(), how, torch_generator(s, "x")).log_mel for s in (0, 0, 1)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_a_view_maker_masks_last():
    plain = {"mean": 0.0, "std": 1.0, "n_mels": N_MELS, "crop_frames": N_FRAMES,
             "mixup_ratio": 0.0, "freq_scale": (1, 1), "time_scale": (1, 1)}  # fmt: skip
    maker = ViewMaker(**plain, freq_masks=1, freq_mask_width=N_MELS)
    (view,) = maker(view_of(), 1, torch_generator(0, "x"))
    assert 0 < (view.log_mel == 0).float().mean() < 1
    assert "freq_masks=1," in repr(maker)
