import pytest
import torch

from unfused.training import precision
from unfused.training.precision import pick_device, pick_precision


def test_auto_follows_the_cpu(monkeypatch):
    for answer, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(precision, "cpu_has_bf16", lambda answer=answer: answer)
        assert pick_precision("auto", "cpu") == dtype
        assert pick_precision("fp32", "cpu") == torch.float32
        assert pick_precision("bf16", torch.device("cpu")) == torch.bfloat16


def test_names_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="precision='half'"):
        pick_precision("half", "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device='cuda'"):
            pick_device("cuda")


def test_auto_device_exists():
    torch.empty(1, device=pick_device("auto"))
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"),
    [(True, True, "cuda:1"), (True, False, "cuda:1"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_is_cuda_else_mps_else_cpu(monkeypatch, cuda, mps, chosen):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert pick_device() == torch.device(chosen)
    for name, there in (("cuda", cuda), ("mps", mps)):
        if there:
            assert pick_device(name).type == name
        else:
            with pytest.raises(ValueError, match=rf"device='{name}'.*'cpu'"):
                pick_device(name)


def test_auto_precision_on_mps_is_fp32():
    assert pick_precision("auto", "mps") == torch.float32


def test_float16_needs_a_gpu():
    with pytest.raises(ValueError, match=r"precision='fp16' needs a CUDA.*use precision='bf16'"):
        pick_precision("fp16", "cpu")
    assert pick_precision("fp16", "cuda:0") == torch.float16


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_autocast_computes_in_the_precision(name):
    device = torch.device("cpu")
    with precision.autocast(device, pick_precision(name, device)):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == pick_precision(name, device)
