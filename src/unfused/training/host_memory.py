"""Keep the memory of freed activations in the process: asking the kernel for it again costs more.

glibc gives every large block back when it is freed. A training step on a CPU frees and allocates
hundreds of megabytes of activations; fetching their pages again took as long as computing them
(AudioNTT: 1.5 to 2 times the clips per CPU-second with the setting below, 1/40 of the page
faults; ``benchmarks/bench_host_memory.py``).
"""

from __future__ import annotations

import ctypes
import logging
import sys
from functools import cache

log = logging.getLogger(__name__)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGEST = 2**31 - 1


@cache
def keep_freed_memory() -> bool:
    """Tell glibc's allocator to keep freed blocks; elsewhere, and if it refuses, do nothing.

    Returns:
        Whether the setting is in force.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library
        return False
    kept = [mallopt(option, _LARGEST) for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD)]
    if not all(kept):
        log.debug("the allocator refuses to keep freed memory; training takes longer")
    return all(kept)
