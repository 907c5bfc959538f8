"""The heads of plain requests: most of what is posted to `/rpc` needs no more of HTTP than this.

A head is taken only if it has one meaning for everybody (RFC 9112): the request line as it is here, each field on a
line of its own in printable ASCII, no field twice, a length in digits, nothing that changes how the body is sent or
read. All others are for aiohttp.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from affix_shim.posts import PATH, is_json

END = b"\r\n\r\n"
_REQUEST = f"POST {PATH} HTTP/1.1".encode()
_FIELD = re.compile(r"([A-Za-z0-9-]+): ([!-~](?:[ -~]*[!-~])?)")
_LENGTH = re.compile("[0-9]{1,10}")
# What changes the framing, the coding or the life of the connection.
_RARE = frozenset({"content-encoding", "expect", "trailer", "transfer-encoding", "upgrade"})
# A longer head is not kept, nor are more than so many.
_LONGEST_BYTES, _MOST = 4096, 1024


class Head(NamedTuple):
    """The fields of a head, names in lower case, and how many bytes of body follow."""

    fields: dict[str, str]
    length: int


class Heads:
    """Reads heads, and keeps what they say: the requests of a connection have mostly the same."""

    def __init__(self) -> None:
        """Begin with none."""
        self._kept: dict[bytes, Head | None] = {}

    def read(self, text: bytes) -> Head | None:
        """Read a head, without the empty line that ends it; None if it is not a plain one."""
        try:
            return self._kept[text]
        except KeyError:
            pass
        if len(text) > _LONGEST_BYTES:
            return None
        if len(self._kept) >= _MOST:
            self._kept.clear()
        head = self._kept[text] = _read(text)
        return head


def _read(text: bytes) -> Head | None:
    request, *lines = text.split(b"\r\n")
    if request != _REQUEST:
        return None
    fields: dict[str, str] = {}
    for line in lines:
        found = _FIELD.fullmatch(line.decode("latin-1"))
        if found is None or found[1].lower() in fields:
            return None
        fields[found[1].lower()] = found[2]
    if fields.keys() & _RARE or "host" not in fields or fields.get("connection", "keep-alive").lower() != "keep-alive":
        return None
    length = fields.get("content-length", "")
    if _LENGTH.fullmatch(length) is None or not is_json(fields.get("content-type")):
        return None
    return Head(fields, int(length))
