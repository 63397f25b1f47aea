"""Use: new audio through a classifier; how soon `kedro run` says and does something."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch

import plain
from made_data import audio
from table import Row, least, measure
from unfused import Classifier, Corpus
from unfused.data.log_mel import FrontEnd
from unfused.embeddings.read_out import ReadOut
from unfused.encoders import AudioNTT, TrainedEncoder

ROOT = Path(__file__).resolve().parents[1]


def classify() -> Iterator[Row]:
    """Label an hour: 360 FLAC files of 10 s, AudioNTT (d=2048) read out at its last block."""
    torch.manual_seed(0)
    encoder = AudioNTT(d=2048).eval()
    with TemporaryDirectory() as folder:
        files = audio(Path(folder) / "audio", 360)
        table = pd.DataFrame({"path": files[:32], "label": ["a", "b"] * 16})
        table.to_csv(labels := Path(folder) / "labels.csv", index=False)
        corpus = Corpus(labels, folder=Path(folder) / "store", n_jobs=1)
        trained = TrainedEncoder(encoder, "untrained", FrontEnd(), *corpus.statistics)
        model = Classifier(trained, read_out=ReadOut()).fit(corpus)
        linear, said = model.head_.linear, {}

        def ours() -> None:
            heard = model.predict(files[0].parent)
            said["ours"] = [next(iter(each.probabilities)) for each in heard]

        @torch.inference_mode()
        def clip_by_clip() -> None:
            found = []
            for file in files:
                log_mel = torch.from_numpy(plain.log_mel(file))
                inputs = ((log_mel - trained.mean) / trained.std)[None, None, :, :1000]
                frames = encoder.frame_features(inputs)["block3"][0]
                vector = torch.cat([frames.mean(0), frames.amax(0), frames.std(0)])
                logits = linear.logits(vector[None].numpy())
                found.append(model.classes_[logits[0].argmax()])
            said["plain"] = found

        seconds = least(1, ours, clip_by_clip)
    same = np.mean([a == b for a, b in zip(said["ours"], said["plain"], strict=True)])
    assert same > 0.95, same  # the plain way leaves out the last frame
    yield Row("classifying an hour / librosa and the network clip by clip", *seconds, 5, "s")


def start_up() -> Iterator[Row]:
    """Start `kedro run --env=test` once all is there: to its first line, and to its end."""
    command = [sys.executable, "-m", "kedro", "run", "--env=test"]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        assert run.stdout is not None
        lines = [run.stdout.readline()]
        ticks = Path(f"/proc/{run.pid}/stat").read_text(encoding="ascii").split()[13:17]
        first = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
        lines += run.stdout.readlines()
        _, status, usage = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
    assert not run.returncode, lines
    assert lines[0].strip(), lines[:3]
    print(lines[0].strip(), file=sys.stderr)
    yield Row("kedro run, to its first line", first, None, 5, "s")
    whole = usage.ru_utime + usage.ru_stime
    yield Row("kedro run --env=test, all of it reused", whole, None, 8, "s")


if __name__ == "__main__":
    measure(classify, start_up)
