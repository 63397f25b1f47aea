import torch

from unfused.core.distributed import rank
from unfused.views import View
from unfused.views.effects import post_normalisation

from ..losses.two_processes import in_two_processes


def view_of(seed, n=5, spans=None):
    log_mel = torch.randn(n, 1, 4, 20, generator=torch.Generator().manual_seed(seed))
    spans = torch.tensor([[0.0, 20.0]]).expand(n, 2) if spans is None else spans
    return View(3.0 * log_mel + seed, spans)


def test_all_views_together_have_mean_0_and_deviation_1():
    views = post_normalisation((view_of(1), view_of(7)))
    values = torch.cat([view.log_mel for view in views])
    torch.testing.assert_close(values.mean(), torch.tensor(0.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(values.std(correction=0), torch.tensor(1.0))
    assert views[0].log_mel.mean() < views[1].log_mel.mean()  # not each by itself


def test_one_mean_and_deviation_for_everything():
    (view,) = (view_of(3),)
    (done,) = post_normalisation((view,))
    expected = (view.log_mel - view.log_mel.mean()) / view.log_mel.std(correction=0)
    torch.testing.assert_close(done.log_mel, expected)
    assert torch.equal(done.spans, view.spans)


def test_padding_does_not_count():
    spans = torch.tensor([[0.0, 20.0], [5.0, 12.0], [0.0, 3.0], [8.0, 20.0], [0.0, 20.0]])
    view = view_of(2, spans=spans)
    padded = view.log_mel.clone()
    outside = torch.ones(5, 20, dtype=torch.bool)
    for row, (first, end) in enumerate(spans.int().tolist()):
        outside[row, first:end] = False
    padded.masked_fill_(outside[:, None, None], -1000.0)
    (done,), (padded_done,) = (
        post_normalisation((view,)),
        post_normalisation((View(padded, spans),)),
    )
    inside = ~outside[:, None, None].expand_as(padded)
    torch.testing.assert_close(padded_done.log_mel[inside], done.log_mel[inside])
    torch.testing.assert_close(done.log_mel[inside].std(correction=0), torch.tensor(1.0))


def test_a_silent_batch_stays_finite():
    silent = View(torch.zeros(3, 1, 4, 20), torch.tensor([[0.0, 20.0]]).expand(3, 2))
    (done,) = post_normalisation((silent,))
    assert torch.equal(done.log_mel, silent.log_mel)


def half(views):
    """Standardise this process's half of every view."""
    mine = (View(*(part.chunk(2)[rank()] for part in view)) for view in views)
    return tuple(view.log_mel for view in post_normalisation(tuple(mine)))


def test_two_processes_share_the_statistics():
    spans = torch.tensor([[0.0, 20.0], [5.0, 12.0], [0.0, 3.0], [8.0, 20.0]])
    views = (view_of(1, n=4, spans=spans), view_of(7, n=4))
    whole = post_normalisation(views)
    for view, halves in zip(whole, zip(*in_two_processes(half, views), strict=True), strict=True):
        torch.testing.assert_close(torch.cat(halves), view.log_mel)
