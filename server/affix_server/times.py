"""Milliseconds since the epoch, and the way the contract prints them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache

# How the parts of a second are printed, and read: looked up, since each answer has several times.
_FRACTIONS = ("Z", *(f".{ms:03d}Z" for ms in range(1, 1000)))
_MS_OF_FRACTION = {fraction.encode(): ms for ms, fraction in enumerate(_FRACTIONS)}
_SECOND_LENGTH = len("2025-01-19T11:00:00")


def now_ms() -> int:
    """Return the wall clock in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@lru_cache(maxsize=4096)
def _format_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def format_ms(ms: int) -> str:
    """Print a time as protobuf's JSON does: `2025-01-19T11:00:00Z`, `2025-01-19T11:00:00.250Z`."""
    return _format_second(ms // 1000) + _FRACTIONS[ms % 1000]


def parse_ms(text: str) -> int:
    """Read what `format_ms` prints, and any other ISO 8601 time with a zone.

    Raises ValueError for anything else.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return round(moment.timestamp() * 1000)


def parse_utc(text: bytes) -> int:
    """Read UTF-8 as `parse_ms` reads text, what `format_ms` prints in a third of the time.

    Raises ValueError for anything else.
    """
    fraction = _MS_OF_FRACTION.get(text[_SECOND_LENGTH:])
    if fraction is None or (second_ms := _parse_second(text[:_SECOND_LENGTH])) is None:
        return parse_ms(text.decode())
    return second_ms + fraction


@lru_cache(maxsize=4096)
def _parse_second(text: bytes) -> int | None:
    """Read a second without a zone, in ms; None if it is not as `format_ms` prints it."""
    try:
        ms = parse_ms(f"{text.decode()}Z")
    except ValueError:
        return None
    return ms if _format_second(ms // 1000).encode() == text else None
