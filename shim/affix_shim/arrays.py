"""The items of a JSON array, without making millions of them first."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Raw, ValidationError, defstruct
from msgspec.json import Decoder
from msgspec.structs import astuple

# An array of so few bytes has few enough items to make them all.
_SMALL_BYTES: Final = 64 * 1024
# So many items at most are ever taken.
MOST_ITEMS: Final = 1000

_list: Final = Decoder(list[Raw])
# One item more is no such struct, and that ends the decoding at once.
_struct: Final[Decoder[Any]] = Decoder(
    defstruct(
        "_Items",
        [(f"item_{place}", Raw, Raw()) for place in range(MOST_ITEMS)],
        array_like=True,
        forbid_unknown_fields=True,
        gc=False,
    )
)


def items_of(text: bytes | Raw) -> list[Raw] | None:
    """Decode an array; None if it is large and has more than 1000 items, of which no more are looked at.

    Raises msgspec.ValidationError when it is no array, DecodeError or RecursionError when it is no JSON.
    """
    if len(text) <= _SMALL_BYTES:
        return _list.decode(text)
    try:
        items = astuple(_struct.decode(text))
    except ValidationError:
        if bytes(memoryview(text)[:_SMALL_BYTES]).lstrip(b" \t\r\n").startswith(b"["):
            return None
        raise
    return [item for item in items if len(item)]
