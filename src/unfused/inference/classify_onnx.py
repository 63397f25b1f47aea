"""Classify audio: python classify_onnx.py a.wav b.flac; needs onnxruntime, soundfile and soxr."""

import json
import sys
from pathlib import Path

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
        for first in range(0, max(len(samples) - length // 10, 1), length):
            part = samples[None, first : first + length]
            likely = session.run(["probabilities"], {"samples": part})[0][0]
            label = facts["classes"][likely.argmax()]
            print(f"{name} {first / facts['sample_rate']:.2f} s: {label} {likely.max():.3f}")
