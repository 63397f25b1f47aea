"""Where and how precisely to compute."""

from __future__ import annotations

from pathlib import Path

import torch


def pick_device(device: torch.device | str = "auto") -> torch.device:
    """Return the device; "auto" is cuda, else mps, else cpu.

    Raises:
        ValueError: The device does not exist on this machine.
    """
    there = [
        name
        for name, backend in (("cuda", torch.cuda), ("mps", torch.backends.mps))
        if backend.is_available()
    ]
    there.append("cpu")
    if str(device) == "auto":
        return torch.device(there[0])
    chosen = torch.device(device)
    if chosen.type in ("cuda", "mps") and chosen.type not in there:
        raise ValueError(
            f"device={str(device)!r}: torch sees no such device here, only {there}; "
            "use device='auto' or one of these"
        )
    return chosen


def pick_precision(precision: str, device: torch.device | str) -> torch.dtype:
    """Return the dtype of the forward pass.

    "auto" is bfloat16 where the hardware multiplies it, on a GPU or a CPU (AVX512-BF16, AMX), and
    float32 elsewhere (mps included), where bfloat16 would be emulated and slower.

    Args:
        precision: "auto", "fp32" or "bf16".
        device: Where the forward pass runs.

    Raises:
        ValueError: ``precision`` is none of the three.
    """
    if precision not in ("auto", "fp32", "bf16"):
        raise ValueError(f"precision={precision!r} must be one of ['auto', 'fp32', 'bf16']")
    if precision == "fp32":
        return torch.float32
    if precision == "bf16":
        return torch.bfloat16
    kind = torch.device(device).type
    fast = torch.cuda.is_bf16_supported(including_emulation=False) if kind == "cuda" else False
    if kind == "cpu":
        fast = cpu_has_bf16()
    return torch.bfloat16 if fast else torch.float32


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Return the context of a forward pass in ``dtype``."""
    return torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16)


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
