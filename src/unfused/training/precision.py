"""Where and how precisely to compute, and how the host's memory is kept."""

import ctypes
from functools import cache

import torch

from ..core.errors import UserError, must_be_one_of

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(device: torch.device | str = "auto") -> torch.device:
    """Return the device; "auto" is cuda, else mps, else cpu. "cuda" is the current GPU, by number.

    Raises:
        UserError: The device does not exist on this machine.
    """
    backends = {"cuda": torch.cuda, "mps": torch.backends.mps}
    there = [*(name for name, backend in backends.items() if backend.is_available()), "cpu"]
    chosen = torch.device(there[0] if str(device) == "auto" else device)
    if chosen.type in ("cuda", "mps") and chosen.type not in there:
        raise UserError(
            f"device={str(device)!r}: torch sees no such device here, only {there}; "
            "use device='auto' or one of these"
        )
    if chosen.type == "cuda" and chosen.index is None:  # each thread has its own current GPU
        return torch.device("cuda", torch.cuda.current_device())
    return chosen


def pick_precision(precision: str, device: torch.device | str) -> torch.dtype:
    """Return the dtype of the forward pass.

    "auto" is bfloat16 where the hardware multiplies it, on a GPU or a CPU (AVX512-BF16, AMX), and
    float32 elsewhere (mps included), where bfloat16 would be emulated and slower.

    Raises:
        UserError: ``precision`` is unknown, or "fp16" anywhere but on a CUDA device.
    """
    kind = torch.device(device).type
    if precision == "fp16" and kind != "cuda":
        raise UserError(
            f"precision='fp16' needs a CUDA GPU, and the device is {kind!r}: use precision='bf16' "
            "or 'auto'"
        )
    must_be_one_of(("auto", *_DTYPES), precision=precision)
    if precision in _DTYPES:
        return _DTYPES[precision]
    fast = kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if fast or (kind == "cpu" and cpu_has_bf16()) else torch.float32


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Return the context of a forward pass in ``dtype``."""
    half = torch.bfloat16 if dtype == torch.float32 else dtype  # off, float32 would only warn
    return torch.autocast(device.type, half, enabled=dtype != torch.float32)


def cpu_has_bf16() -> bool:
    """Return whether the CPU multiplies bfloat16 in hardware."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


@cache
def keep_freed_memory() -> None:
    """Tell glibc's allocator to keep freed blocks; with another C library do nothing.

    Else an encoder on a CPU gives hundreds of megabytes of activations back in every step, and
    fetching their pages again can take as long as computing them.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    for option in (-3, -1):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of malloc.h
        mallopt(option, 2**31 - 1)
