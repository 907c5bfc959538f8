"""HTTP/2 by hand, as far as an attacker needs it (RFC 9113, RFC 7541)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW_SIZE = 4


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def settings(**values: int) -> bytes:
    """A SETTINGS frame; the only one we ever need is the window."""
    pairs = [INITIAL_WINDOW_SIZE.to_bytes(2, "big") + size.to_bytes(4, "big") for size in values.values()]
    return frame(SETTINGS, 0, 0, b"".join(pairs))


def headers(path: str, **more: str) -> bytes:
    """The header block of a gRPC call, all literals without indexing."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
        **more,
    }
    return b"".join(b"\0" + _string(name) + _string(value) for name, value in fields.items())


def call(stream: int, path: str, message: bytes) -> bytes:
    """A whole gRPC call."""
    body = b"\0" + len(message).to_bytes(4, "big") + message
    return frame(HEADERS, END_HEADERS, stream, headers(path)) + frame(DATA, END_STREAM, stream, body)


@asynccontextmanager
async def connected(place: tuple[str, int], limit: int = 65536) -> AsyncIterator[Streams]:
    """Connect; at the end the connection is cut. asyncio takes little more than twice `limit` that is not read."""
    reader, writer = await asyncio.open_connection(*place, limit=limit)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def answered(reader: asyncio.StreamReader, count: int) -> None:
    """Read until so many header blocks have come: of answers that have begun, or were refused."""
    while count:
        head = await reader.readexactly(9)
        await reader.readexactly(int.from_bytes(head[:3], "big"))
        count -= head[3] == HEADERS


def _string(text: str) -> bytes:
    data = text.encode()
    if len(data) < 127:
        return bytes((len(data),)) + data
    rest, length = len(data) - 127, bytearray((127,))
    while rest >= 128:
        length.append(rest % 128 + 128)
        rest //= 128
    return bytes((*length, rest)) + data
