"""Milliseconds since the epoch, and the way the contract prints them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache


def now_ms() -> int:
    """Return the wall clock in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@lru_cache(maxsize=4096)
def _format_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def format_ms(ms: int) -> str:
    """Print a time as protobuf's JSON does: `2025-01-19T11:00:00Z`, `2025-01-19T11:00:00.250Z`."""
    second, fraction = divmod(ms, 1000)
    return f"{_format_second(second)}.{fraction:03d}Z" if fraction else f"{_format_second(second)}Z"


def parse_ms(text: str) -> int:
    """Read what `format_ms` prints, and any other ISO 8601 time with a zone.

    Raises ValueError for anything else.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return round(moment.timestamp() * 1000)
