"""Two processes at once: one makes a result, the other waits for it; the dead hold nothing."""

import errno
import json
import os
import signal
import subprocess
import sys

import pytest

from unfused.cli import words_of
from unfused.core import locks
from unfused.core.errors import UserError
from unfused.core.locks import Claim, locked

BUILD = """
import sys, time
from pathlib import Path
from unfused.core import outputs

def build(path):
    time.sleep(1.0)
    with open(path / "made", "a") as file:
        file.write("once ")

outputs.OutputFolder(Path(sys.argv[1])).built("a", {}, build)
print(*outputs.OUTCOMES)
"""
HOLD = """
import sys, time
from pathlib import Path
from unfused.core.locks import Claim
claim = Claim(Path(sys.argv[1]), ["results.parquet"])
print("held", flush=True)
time.sleep(600)
"""


def start(script, folder):
    command = [sys.executable, "-c", script, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def holder(tmp_path):
    process = start(HOLD, tmp_path)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_two_processes_make_an_output_once(tmp_path):
    both = [start(BUILD, tmp_path) for _ in range(2)]
    said = sorted(process.communicate(timeout=120)[0].strip() for process in both)
    assert said == ["built", "reused"]
    (made,) = tmp_path.glob("a-*/made")
    assert made.read_text() == "once "
    assert not list(tmp_path.glob(".*"))


def test_a_claim_says_who_holds_it_and_others_files_are_free(tmp_path, holder):
    with pytest.raises(UserError) as caught:
        Claim(tmp_path, ["results.parquet", "else.parquet"])
    for word in (str(holder.pid), os.uname().nodename, "results.parquet", str(tmp_path)):
        assert word in str(caught.value)
    assert "run_name" in words_of(caught.value)
    Claim(tmp_path, ["else.parquet"]).release()


def test_the_claim_of_a_killed_process_is_stale(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    (left,) = tmp_path.glob(".running-*.json")
    assert json.loads(left.read_text())["process"] == holder.pid
    Claim(tmp_path, ["results.parquet"]).release()
    assert not list(tmp_path.glob(".*"))


def test_a_lock_is_gone_when_it_is_given_back(tmp_path):
    for _ in range(2):
        with locked(tmp_path / "lock"):
            assert (tmp_path / "lock").exists()
        assert not (tmp_path / "lock").exists()


def test_where_there_are_no_locks_work_goes_on(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with locked(tmp_path / "x.lock"):
        pass
    Claim(tmp_path, ["a"]).release()
    assert not list(tmp_path.iterdir())
    assert "one run at a time" in caplog.text


def test_a_system_without_fcntl(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    with locked(tmp_path / "x.lock"), locked(tmp_path / "x.lock"):
        Claim(tmp_path, ["a"]).release()
    assert not list(tmp_path.iterdir())


def test_who_is_at_work_in_a_folder_is_said(tmp_path):
    command = [sys.executable, "-m", "unfused.core.locks", str(tmp_path)]
    assert subprocess.run(command, capture_output=True, timeout=60).returncode == 0
    (tmp_path / "runs").mkdir()
    claim = Claim(tmp_path / "runs", ["a.csv"])
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1
    assert f"process {os.getpid()} on" in refused.stderr
    claim.release()
    assert subprocess.run(command, capture_output=True, timeout=60).returncode == 0
