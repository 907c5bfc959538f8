"""Python's garbage collector, told what a server is like."""

from __future__ import annotations

import gc

# Young objects, of which a call makes hundreds and leaves none behind, are looked through less often than by default.
_THRESHOLDS = (50_000, 20, 50)


def settle() -> None:
    """Take everything there is by now as what stays, which is never looked through again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
