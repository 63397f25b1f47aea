"""Clips to listen to, inside a page that needs nothing beside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from ..data.reading import UnreadableAudio, read_mono

_RATE, _PEAK = 16_000, 0.9


def heard(clip: Mapping[str, Any], *, seconds: float = 3.0) -> dict[str, Any]:
    """Return a clip with ``sound``, the data address of its beginning, and ``file``, its name.

    It is made to peak just below 1, mono, at 16 kHz. ``sound`` is empty, and ``missing`` says why,
    where the file cannot be read any more. A clip has ``clip_id`` and, where known, ``path, offset,
    frames, sample_rate``.
    """
    if not clip.get("path"):
        return {**clip, "sound": "", "file": clip["clip_id"], "missing": "its file is not known"}
    known = {**clip, "file": Path(clip["path"]).name, "missing": ""}
    frames = min(int(clip["frames"]), max(1, int(seconds * clip["sample_rate"])))
    try:
        samples = read_mono(
            clip["path"], offset=int(clip["offset"]), frames=frames, sample_rate=_RATE
        )
    except UnreadableAudio as error:  # moved or damaged since its log-mel was made
        return {**known, "sound": "", "missing": str(error)}
    samples = samples * (_PEAK / max(1e-6, float(np.abs(samples).max())))
    file = io.BytesIO()
    soundfile.write(file, samples, _RATE, format="FLAC", subtype="PCM_16")
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return {**known, "sound": f"data:audio/flac;base64,{data}"}
