"""A JSON object's members as raw texts, without losing sight of names given twice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Raw, Struct
from msgspec.json import Decoder
from msgspec.structs import astuple

_members: Final = Decoder(dict[str, Raw])
_string: Final = Decoder(str)

# Name, quotes included, between the punctuation before it and the value after it.
_NAME: Final = re.compile(rb'[{,\s]*("(?:[^"\\]|\\.)*+")[\s:]*+')
_NEXT: Final = re.compile(rb"\s*+[,}]")
# `"id":0,` is the shortest member that a parameter we know can add.
_SHORTEST_REPEAT: Final = 7
# An object may have so many bytes beside the members that may be large: names and values by the million.
MAX_BESIDE: Final = 1024 * 1024


class BulkyError(Exception):
    """An object has more, or larger, members than any method takes; they have not been made."""


class _Large(Struct, gc=False):
    """The members that may be large."""

    value: Raw = Raw()
    content: Raw = Raw()
    url: Raw = Raw()
    result: Raw = Raw()
    metadata: Raw = Raw()
    updates: Raw = Raw()
    requests: Raw = Raw()

    def size(self) -> int:
        return sum(map(len, astuple(self)))


_large: Final = Decoder(_Large)


def members_of(text: Raw) -> dict[str, Raw]:
    """Decode an object; of a name given twice the last value stays.

    Raises msgspec.ValidationError when it is no object, RecursionError from about 1,000 levels, BulkyError.
    """
    if len(text) > MAX_BESIDE and len(text) - _large.decode(text).size() > MAX_BESIDE:
        raise BulkyError
    return _members.decode(text)


def repeated(text: Raw, members: Mapping[str, Raw]) -> str | None:
    """Name the first member of the object `text` that is given again; `members` is its decoding.

    A name that no method knows may be missed: it is refused for that already.
    """
    # Four bytes of punctuation a member, one brace. Only an object with more than that has room for a repeat.
    room = len(text) - 1 - 4 * len(members) - sum(map(len, members)) - sum(map(len, members.values()))
    return _scan(memoryview(text), members) if room >= _SHORTEST_REPEAT else None


def _scan(text: memoryview, members: Mapping[str, Raw]) -> str | None:
    """Walk the object from name to name, passing over each value by the text it is known to have.

    Where something else stands, the value belongs to a repeat: msgspec kept a later one.
    """
    unseen = dict(members)
    at = 0
    while match := _NAME.match(text, at):
        name = _string.decode(match[1])
        value = unseen.pop(name, None)
        at = match.end()
        if value is None or text[at : at + len(value)] != memoryview(value):
            return name
        at += len(value)
        if _NEXT.match(text, at) is None:
            return name
    return None
