"""Where and how precisely to compute."""

from __future__ import annotations

from pathlib import Path

import torch

from ..core.errors import UserError

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(device: torch.device | str = "auto") -> torch.device:
    """Return the device; "auto" is cuda, else mps, else cpu. "cuda" is the current GPU, by number.

    Raises:
        ValueError: The device does not exist on this machine.
    """
    there = [
        name
        for name, backend in (("cuda", torch.cuda), ("mps", torch.backends.mps))
        if backend.is_available()
    ]
    there.append("cpu")
    chosen = torch.device(there[0] if str(device) == "auto" else device)
    if chosen.type in ("cuda", "mps") and chosen.type not in there:
        raise UserError(
            f"device={str(device)!r}: torch sees no such device here, only {there}; "
            "use device='auto' or one of these"
        )
    if chosen.type == "cuda" and chosen.index is None:
        # Each thread has its own current GPU; the one that gathers batches must not use another.
        return torch.device("cuda", torch.cuda.current_device())
    return chosen


def pick_precision(precision: str, device: torch.device | str) -> torch.dtype:
    """Return the dtype of the forward pass.

    "auto" is bfloat16 where the hardware multiplies it, on a GPU or a CPU (AVX512-BF16, AMX), and
    float32 elsewhere (mps included), where bfloat16 would be emulated and slower.

    Args:
        precision: "auto", "fp32", "bf16" or "fp16".
        device: Where the forward pass runs.

    Raises:
        ValueError: ``precision`` is none of the four, or is "fp16" anywhere but on a CUDA device.
    """
    kind = torch.device(device).type
    if precision == "fp16" and kind != "cuda":
        raise UserError(
            f"precision='fp16' needs a CUDA GPU, and the device is {kind!r}: use precision='bf16' "
            "or 'auto', which is bf16 where the hardware multiplies it and fp32 elsewhere"
        )
    if precision in _DTYPES:
        return _DTYPES[precision]
    if precision != "auto":
        raise UserError(f"precision={precision!r} must be one of {['auto', *_DTYPES]}")
    fast = torch.cuda.is_bf16_supported(including_emulation=False) if kind == "cuda" else False
    if kind == "cpu":
        fast = cpu_has_bf16()
    return torch.bfloat16 if fast else torch.float32


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Return the context of a forward pass in ``dtype``."""
    half = torch.bfloat16 if dtype == torch.float32 else dtype  # off, float32 would only warn
    return torch.autocast(device.type, half, enabled=dtype != torch.float32)


def cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether the CPU multiplies bfloat16 in hardware.

    Args:
        cpuinfo: Read where torch cannot tell.
    """
    answers = [
        getattr(torch.cpu, name)()
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        if hasattr(torch.cpu, name)
    ]
    if answers:
        return any(answers)
    try:
        flags = cpuinfo.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags)
