"""An HTTP connection before aiohttp: plain posts to `/rpc`, which most requests are, are answered from here.

The first request that is no plain one (heads.py) goes to aiohttp, and the connection with it, for good.
"""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

from affix_cli.bounded import Bounded
from affix_cli.heads import END, Head
from affix_shim.gateway import Caller
from affix_shim.posts import Response
from affix_shim.request_ids import REQUEST_ID

if TYPE_CHECKING:
    from affix_cli.connections import Connections

# Longer than a client or a proxy before it keeps a connection that is idle, which it would use in vain.
KEEPALIVE_SECONDS = 75.0
# A client may send more than it waits for; so much of it is taken from the socket.
_AHEAD_BYTES = 256 * 1024
# A smaller answer is sent in one piece with its head.
_LARGE_BYTES = 16 * 1024


class Direct(Bounded):
    """Answers one request after the other, in their order."""

    def __init__(self, connections: Connections) -> None:
        """Begin without a request."""
        super().__init__(connections)
        # What has arrived behind the request that is being answered.
        self._held = bytearray()
        # The request whose body is arriving, the parts of it that have, and how many bytes have not.
        self._due: Head | None = None
        self._parts: list[bytes] = []
        self._missing = 0
        self._under_way = False
        self._answering: asyncio.Task[None] | None = None
        self._head: Head | None = None
        self._caller = Caller({}, None)
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Expect a request (asyncio.Protocol)."""
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Take a request, or what there is of it (asyncio.Protocol)."""
        if self._due is not None:
            self._take_part(self._due, data)
        elif self._answering is None and not self._held and self not in self._connections.stalled:
            self._take(data)
        else:
            self._held += data
            if len(self._held) > _AHEAD_BYTES and self._transport is not None:
                self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection; a request that is being carried out still is (asyncio.Protocol)."""
        self._forget()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        """Go on, now that the client has taken its answer (asyncio.Protocol)."""
        super().resume_writing()
        if self._answering is None and self._held:
            self._take_held()

    def abort(self) -> None:
        """Cut the connection off."""
        self._forget()
        super().abort()

    def close_idle(self) -> None:
        """Close the connection, unless a request is being answered: that ends it."""
        if self._answering is None and self._transport is not None:
            self._transport.close()

    def give_up(self) -> None:
        """Answer no more."""
        if self._answering is not None:
            self._answering.cancel()
        self.abort()

    def _take_held(self) -> None:
        data = bytes(self._held)
        self._held.clear()
        if self._transport is not None:
            self._transport.resume_reading()
            self._take(data)

    def _take(self, data: bytes) -> None:
        """Begin to answer a request; `data` begins with its head."""
        ends = data.find(END)
        head = self._connections.heads.read(data[:ends]) if ends > 0 else None
        if head is None or head.length > self._connections.posts.max_body_bytes:
            self._hand_over(data)
            return
        self._under_way = True
        self._connections.in_flight.begin()
        begins = ends + len(END)
        size = begins + head.length
        if len(data) < size:
            self._due, self._parts, self._missing = head, [data[begins:]], size - len(data)
            self._stop_receiving()
            self._expect()
            return
        if len(data) > size:
            self._held += memoryview(data)[size:]
        self._begin(head, data[begins:size])

    def _take_part(self, head: Head, data: bytes) -> None:
        """Take more of a body, and begin to answer when there is all of it."""
        if len(data) < self._missing:
            self._parts.append(data)
            self._missing -= len(data)
            self._heard = self._connections.loop.time()
            return
        self._parts.append(data[: self._missing])
        self._held += memoryview(data)[self._missing :]
        body = b"".join(self._parts)
        self._due, self._parts = None, []
        self._begin(head, body)

    def _begin(self, head: Head, body: bytes) -> None:
        self._stop_receiving()
        self._answering = self._connections.loop.create_task(self._answer(head, body))

    async def _answer(self, head: Head, body: bytes) -> None:
        if head is not self._head:
            self._head, self._caller = head, Caller(head.fields, self._address())
        try:
            self._send(await self._connections.posts.respond(body, head.fields, self._caller))
            self._answering = None
        finally:
            self._end()
            if self._answering is not None:  # a fault of ours, which is logged as that of the task
                self._answering = None
                self.abort()
        self._go_on()

    def _go_on(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._connections.leaving.is_set():
            self._transport.close()
        elif self._held and self not in self._connections.stalled:
            self._take_held()
        else:
            self._heard = self._connections.loop.time()
            if self._idle is None:
                self._idle = self._connections.loop.call_later(KEEPALIVE_SECONDS, self._look_whether_idle)

    def _end(self) -> None:
        """Count the request under way, if there is one, as over."""
        if self._under_way:
            self._under_way = False
            self._connections.in_flight.end()

    def _send(self, response: Response) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        head, body = self._connections.print_head(response), response.body
        if len(body) < _LARGE_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)

    def _hand_over(self, data: bytes) -> None:
        """Have aiohttp serve the connection from this request on."""
        transport = self._transport
        self._forget()
        if transport is None or transport.is_closing():
            return
        guard = self._connections.guarded()
        transport.set_protocol(guard)
        guard.connection_made(transport)
        guard.data_received(data)

    def _address(self) -> str | None:
        peer = None if self._transport is None else self._transport.get_extra_info("peername")
        return str(peer[0]) if isinstance(peer, tuple) else peer

    def _look_whether_idle(self) -> None:
        left = KEEPALIVE_SECONDS
        if self._answering is None and self._due is None and not self._held:
            left -= self._connections.loop.time() - self._heard
        if left <= 0:
            self.close_idle()
        else:
            self._idle = self._connections.loop.call_later(left, self._look_whether_idle)

    def _forget(self) -> None:
        self._stop_receiving()
        self._connections.forget(self)
        if self._answering is None:
            self._end()
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None


class Heading:
    """Prints the heads of answers."""

    def __init__(self, leaving: asyncio.Event) -> None:
        """Say that the connection ends, once this is set."""
        self._leaving = leaving
        self._second = 0
        self._date = b""

    def print(self, response: Response) -> bytes:
        """Print the head of an answer (RFC 9110, 9112)."""
        second = int(time.time())
        if second != self._second:
            self._second, self._date = second, formatdate(second, usegmt=True).encode()
        end = b"Connection: close\r\n\r\n" if self._leaving.is_set() else b"\r\n"
        request_id = response.request_id.encode()
        if response.status == HTTPStatus.NO_CONTENT:
            return b"HTTP/1.1 204 No Content\r\n%b: %b\r\nDate: %b\r\n%b" % (_ID, request_id, self._date, end)
        return (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%b: %b\r\nContent-Length: %d\r\nDate: %b\r\n%b"
            % (_ID, request_id, len(response.body), self._date, end)
        )


_ID = REQUEST_ID.encode()
