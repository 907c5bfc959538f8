"""The writers of a task as the stores keep them: the text of a JSON array."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

_array = msgspec.json.Decoder(tuple[str, ...])


def print_writers(writers: Sequence[str]) -> str:
    """Return the text of the names."""
    return msgspec.json.encode(writers).decode()


def parse_writers(text: str) -> tuple[str, ...]:
    """Return the names. Raises ValueError for what is no array of strings."""
    try:
        return _array.decode(text)
    except msgspec.DecodeError as fault:
        raise ValueError("not an array of strings") from fault
