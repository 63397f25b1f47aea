import threading

import pytest
import torch

from unfused.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from unfused.training.history import Meter, MetricsFile
from unfused.training.processes import StopRequest


def test_what_is_saved_is_loaded(tmp_path):
    path = tmp_path / "new" / "checkpoint.pt"
    save_checkpoint(path, "mark", {"step": 3, "state": {"w": torch.arange(3.0)}})
    content = load_checkpoint(path, "mark", "cpu")
    assert content["step"] == 3
    assert torch.equal(content["state"]["w"], torch.arange(3.0))
    assert [file.name for file in path.parent.iterdir()] == ["checkpoint.pt"]


def test_no_file_is_no_checkpoint(tmp_path):
    assert load_checkpoint(tmp_path / "checkpoint.pt", "mark", "cpu") is None


def test_a_failed_write_leaves_the_old_one(tmp_path, monkeypatch):
    def full_disk(content, file):
        file.write(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file")

    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, "mark", {"step": 1})
    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="goes on from the last checkpoint"):
        save_checkpoint(path, "mark", {"step": 2})
    assert load_checkpoint(path, "mark", "cpu")["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_another_runs_checkpoint_is_refused(tmp_path):
    save_checkpoint(tmp_path / "checkpoint.pt", "mine", {})
    with pytest.raises(CheckpointError, match="mark is mine, this run's yours"):
        load_checkpoint(tmp_path / "checkpoint.pt", "yours", "cpu")


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch.save({"format": 1, "fingerprint": "mark", "code": threading.Thread}, path)
    with pytest.raises(CheckpointError):
        load_checkpoint(path, "mark", "cpu")


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "other", "bit"])
def test_a_damaged_checkpoint_is_named(tmp_path, damage):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, "mark", {"w": torch.zeros(1000)})
    whole = path.read_bytes()
    if damage == "other":
        torch.save([1, 2], path)
    else:
        bit = bytearray(whole)
        bit[len(whole) // 2] ^= 1
        path.write_bytes(
            {"bit": bit, "cut": whole[: len(whole) // 2], "empty": b"", "text": b"hello"}[damage]
        )
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt.*delete it"):
        load_checkpoint(path, "mark", "cpu")


def test_meter_means_and_state():
    meter = Meter(torch.device("cpu"))
    meter.add({"loss": torch.tensor(1.0), "size": 4})
    other = Meter(torch.device("cpu"))
    other.load_state_dict(meter.state_dict())
    for each in (meter, other):
        each.add({"loss": torch.tensor(3.0)})
        assert each.means() == {"loss": 2.0, "size": 4.0}
    meter.clear()
    assert meter.means() == {}


def test_rows_that_are_not_finite_are_still_json(tmp_path):
    file = MetricsFile(tmp_path / "metrics.jsonl")
    file.append({"step": 1, "nmi": float("nan")})
    assert file.path.read_text() == '{"step": 1, "nmi": null}\n'
    assert file.table()["nmi"].isna().all()


def test_what_a_checkpoint_knows_of_the_metrics_is_what_was_written(tmp_path):
    file = MetricsFile(tmp_path / "metrics.jsonl")
    file.append({"step": 1})
    file.path.write_text("something else")  # while the training goes on
    file.append({"step": 2})
    with pytest.raises(CheckpointError, match="not what stood beside the checkpoint"):
        MetricsFile(file.path).begin(file.facts)


def test_signals_are_left_alone_in_other_threads():
    errors = []

    def enter():
        try:
            with StopRequest() as stop:
                assert stop.requested is None
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert errors == []
