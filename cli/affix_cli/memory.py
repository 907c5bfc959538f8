"""Memory of a server: Python's garbage collector and the C library's allocator, told what a server is like."""

from __future__ import annotations

import ctypes
import gc

# Young objects, of which a call makes hundreds and leaves few behind, are looked through less often than by default.
# But gRPC leaves five with each call, that know each other, and to collect 50,000 of them at once takes 20 to 50 ms.
_THRESHOLDS = (2_000, 20, 50)
# glibc's mallopt(3): how much unused memory at the end of the heap is kept, and from what size on a piece of memory is
# mapped by itself. By default what a large attachment took is given back with each answer, and the next one has the
# kernel clear all of its pages again, which takes several times as long as to copy it.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT_BYTES, _MAPPED_FROM_BYTES = 128 * 1024 * 1024, 32 * 1024 * 1024


def settle() -> None:
    """Take everything there is by now as what stays, which is never looked through again; keep some unused memory."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    # Other C libraries do without.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_MMAP_THRESHOLD, _MAPPED_FROM_BYTES)
