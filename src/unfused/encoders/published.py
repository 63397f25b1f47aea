"""Checkpoints that others published: their tensors by name into our AudioNTT, none unexplained.

BYOL-A (nttcslab/byol-a) publishes ``AudioNTT2020-BYOLA-64x96d{512,1024,2048}.pth``; LAPE
(Sreyan88/LAPE) saves Lightning checkpoints of SLICER, DeLoRes-S and DeLoRes-M. All hold the network
that :class:`~unfused.encoders.audio_ntt.AudioNTT` is, apart from the order of ReLU and pooling,
which changes no number.
"""

import logging
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.errors import UserError
from .audio_ntt import AudioNTT
from .trained import TrainedEncoder, provenance

log = logging.getLogger(__name__)
BYOL_A_FRONT_END: Mapping[str, Any] = {
    **{"sample_rate": 16000, "n_fft": 1024, "hop": 160, "n_mels": 64, "f_min": 60.0},
    **{"f_max": 7800.0, "eps": 1.1920929e-7, "mel_scale": "htk", "norm": "none"},
}
"""torchaudio's mel spectrogram with its defaults, as BYOL-A's README has it."""
LAPE_FRONT_END: Mapping[str, Any] = {**BYOL_A_FRONT_END, "mel_scale": "slaney", "norm": "slaney"}
"""librosa's mel spectrogram, as LAPE's code has it."""
BYOL_A_STATISTICS = (-5.4919195, 5.0389895)
"""Mean and deviation of the log-mels in BYOL-A's README (measured on Speech Commands)."""

_LAYERS = [(block, layer) for block in range(3) for layer in (0, 1)]  # convolution, norm
_LINEAR = {"fc.0.": "fc1.", "fc.3.": "fc2."}
_BYOL_A = _LINEAR | {f"features.{4 * i + j}.": f"blocks.block{i + 1}.{j}." for i, j in _LAYERS}
_LAPE = _LINEAR | {f"features_{i + 1}.{j}.": f"blocks.block{i + 1}.{j}." for i, j in _LAYERS}
_LAPE_PREFIXES = ("encoder_q.encoder.", "encoder.encoder.")
_LAPE_HEADS = re.compile(
    r"^(encoder_q\.(?!encoder\.)|encoder_k\.|queue|p\d?\.|encoder\.(?!encoder\.))"
)


def load_byol_a(
    path: str | Path, *, mean: float = BYOL_A_STATISTICS[0], std: float = BYOL_A_STATISTICS[1]
) -> TrainedEncoder:
    """Load one of BYOL-A's published encoders, of 512, 1024 or 2048 dimensions.

    It brings BYOL-A's front-end, ``FrontEnd(mel_scale="htk", norm="none")``: log-mels made with
    another one are refused. ``mean`` and deviation ``std`` are those of the log-mels it is to be
    used on; BYOL-A measures them for every data set.

    Raises:
        UserError: The file is no such checkpoint; the message names the tensors.
    """
    encoder, left = _audio_ntt(_read(path), _BYOL_A, path)
    if left:
        raise UserError(f"{path} holds tensors that BYOL-A's encoder does not have: {left}")
    front_end = {**BYOL_A_FRONT_END, "n_mels": encoder.settings["n_mels"]}
    return TrainedEncoder(encoder, encoder.name, front_end, mean, std, _facts("byol_a", path))


def load_lape(path: str | Path, *, mean: float, std: float) -> TrainedEncoder:
    """Load the encoder of a LAPE checkpoint of SLICER, DeLoRes-S or DeLoRes-M.

    The student's encoder is taken; momentum encoder, heads and queue are left out and logged.
    LAPE's running normalisation is not in its checkpoints: ``mean`` and deviation ``std`` of the
    log-mels it is to be used on have to be given. The file may hold the ``state_dict`` alone.

    Raises:
        UserError: The file is no such checkpoint; the message names the tensors.
    """
    state = _read(path)
    prefix = next((p for p in _LAPE_PREFIXES if any(key.startswith(p) for key in state)), None)
    if prefix is None:
        raise UserError(
            f"{path} has no tensor below {' or '.join(_LAPE_PREFIXES)}; it has "
            f"{sorted(state)[:5]} ...: is it a LAPE checkpoint?"
        )
    names = {prefix + theirs: ours for theirs, ours in _LAPE.items()}
    encoder, left = _audio_ntt(state, names, path)
    if unknown := [key for key in left if not _LAPE_HEADS.match(key)]:
        raise UserError(f"{path} holds tensors that no LAPE method has: {unknown}")
    parts = ", ".join(sorted({key.split(".")[0] for key in left}))
    log.info("%s: left out %d tensors of heads and momentum copies: %s", path, len(left), parts)
    front_end = {**LAPE_FRONT_END, "n_mels": encoder.settings["n_mels"]}
    return TrainedEncoder(encoder, encoder.name, front_end, mean, std, _facts("lape", path))


def _facts(source: str, path: str | Path) -> dict[str, Any]:
    checkpoint = {"checkpoint": Path(path).name}
    return provenance(method=f"{source} (published)", seed=0, parameters=checkpoint)


def _read(path: str | Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} holds more than tensors (Lightning keeps classes in its checkpoints), and "
            "loading those would run their code. If you trust the file, save its tensors alone: "
            "torch.save(torch.load(file, weights_only=False)['state_dict'], other_file)"
        ) from error
    except (RuntimeError, EOFError, ValueError) as error:
        raise UserError(f"{path} is no checkpoint of PyTorch, or damaged: {error}") from error
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"{path} holds no table of tensors: name a checkpoint's file")
    return dict(state)


def _audio_ntt(
    state: Mapping[str, Tensor], names: Mapping[str, str], path: str | Path
) -> tuple[AudioNTT, list[str]]:
    """Return the encoder, and the names of the tensors that are not its own."""
    renamed, left = {}, []
    for key, tensor in state.items():
        theirs = next((name for name in names if key.startswith(name)), None)
        if theirs is None:
            left.append(key)
        else:
            renamed[names[theirs] + key.removeprefix(theirs)] = tensor
    if "fc1.weight" not in renamed:
        raise UserError(f"{path} lacks fc.0.weight of AudioNTT; it has {sorted(state)[:5]} ...")
    d, flat = renamed["fc1.weight"].shape
    encoder = AudioNTT(d=int(d), n_mels=int(flat) // 64 * 8)
    try:
        encoder.load_state_dict(renamed)
    except RuntimeError as error:  # missing, unexpected or of another shape
        raise UserError(f"{path} does not fit AudioNTT of d={d}: {error}") from error
    return encoder.eval(), left
