"""Classify audio: python classify_onnx.py a.wav b.flac; needs onnxruntime, soundfile and soxr."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile
import soxr

if __name__ == "__main__":
    folder = Path(__file__).parent
    facts = json.loads((folder / "onnx.json").read_text(encoding="utf-8"))
    session = onnxruntime.InferenceSession(str(folder / facts["file"]))
    length = round(facts["segment_seconds"] * facts["sample_rate"])
    for name in sys.argv[1:]:
        samples, rate = soundfile.read(name, dtype="float32", always_2d=True)
        samples = soxr.resample(samples.mean(axis=1), rate, facts["sample_rate"])
        samples = np.pad(samples, (0, max(facts["sample_rate"] // 10 - len(samples), 0)))
        firsts, last = [0], len(samples)
        while last - firsts[-1] > length + length // 10:  # the last segment ends with the file
            firsts.append(min(firsts[-1] + length, last - length))
        ends = [*(first + length for first in firsts[:-1]), last]
        for first, end in zip(firsts, ends, strict=True):
            likely = session.run(["probabilities"], {"samples": samples[None, first:end]})[0][0]
            label = facts["classes"][likely.argmax()]
            print(f"{name} {first / facts['sample_rate']:.2f} s: {label} {likely.max():.3f}")
