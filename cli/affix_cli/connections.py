"""What one HTTP connection, or all of them, may take up: their number, and how long they may stand still.

aiohttp bounds neither. gRPC bounds its own (server/affix_server/app.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from aiohttp import web

from affix_shim.errors import RATE_LIMITED
from affix_shim.jsonrpc import JsonRpcError, error_answer

# Each is a round of the loop at least; a request that has arrived is begun within three.
_LOOKS, _LOOK_AGAIN_SECONDS = 5, 0.02
_LINGER_SECONDS = 10.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the HTTP port takes on.

    `receive_seconds`: for the headers of a request as a whole, and for its body between two pieces.
    `send_seconds`: for a client to take anything of an answer that waits for it.
    `unsent_bytes`: of all answers that wait; the connection with which they become more is cut off.
    """

    connections: int = 10_000
    receive_seconds: float = 10.0
    send_seconds: float = 30.0
    unsent_bytes: int = 1024 * 1024 * 1024


class Connections:
    """Makes the protocol of each connection of an application: aiohttp's, guarded.

    `server` is to be set before the first one, to what makes aiohttp's.
    """

    def __init__(self, app: web.Application, bounds: Bounds) -> None:
        """Hear of the application's requests, which is not frozen yet."""
        self.server: Callable[[], object] | None = None
        self.bounds = bounds
        app.middlewares.append(self._watch)
        self.loop = asyncio.get_running_loop()
        self.open: dict[asyncio.BaseProtocol, Guard] = {}
        self.refused: set[Refused] = set()
        self.stalled: set[Guard] = set()

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a connection that was accepted."""
        count = len(self.open) + 1
        if count > self.bounds.connections:
            return Refused(self, count)
        if self.server is None:
            raise RuntimeError("there is no server yet")
        guard = Guard(self, cast("asyncio.Protocol", self.server()))
        self.open[guard.inner] = guard
        return guard

    @web.middleware
    async def _watch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        guard = self.open.get(request.protocol)
        if guard is None:
            raise ConnectionResetError("the client has gone")
        guard.begin(request)
        try:
            response = await handler(request)
            if not request.content.is_eof():
                await self._linger(request, response)
            return response
        finally:
            guard.end()

    async def _linger(self, request: web.Request, response: web.StreamResponse) -> None:
        """Answer, and take the rest of a body that nobody wants, or the answer would be lost with the connection.

        aiohttp would unpack it as well, however much it becomes: it is told not to linger.
        """
        await response.prepare(request)
        await response.write_eof()
        response.force_close()
        if "Content-Encoding" not in request.headers:
            with suppress(TimeoutError, ConnectionError, web.RequestPayloadError):
                async with asyncio.timeout(_LINGER_SECONDS):
                    while not request.content.is_eof():
                        await request.content.readany()
                        await asyncio.sleep(0)

    def unsent(self) -> int:
        """Return how many bytes wait for clients that do not take them."""
        return sum(guard.unsent() for guard in self.stalled)

    def close_refused(self) -> None:
        """Close those that were refused and have not gone yet; the others are aiohttp's to close."""
        for refused in tuple(self.refused):
            refused.close()


class Guard(asyncio.Protocol):
    """aiohttp's protocol, with an eye on how long the client stands still."""

    def __init__(self, connections: Connections, inner: asyncio.Protocol) -> None:
        """Pass everything on to `inner`."""
        self.inner = inner
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._request: web.Request | None = None
        self._receiving: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None
        self._heard = 0.0
        self._unsent = 0
        self._looks = 0

    def begin(self, request: web.Request) -> None:
        """Note that the headers of a request are whole."""
        self._request = request
        self._stop_receiving()
        if not request.content.is_eof():
            self._expect()

    def end(self) -> None:
        """Note that a request is answered; the next may be long in coming."""
        self._request = None
        self._stop_receiving()

    def unsent(self) -> int:
        """Return how many bytes wait for the client."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Expect a request (asyncio.Protocol)."""
        self._transport = cast("asyncio.Transport", transport)
        self.inner.connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Pass data on; the first of a request starts its time (asyncio.Protocol)."""
        self._heard = self._connections.loop.time()
        if self._request is None and self._receiving is None:
            self._expect()
        self.inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass it on (asyncio.Protocol)."""
        return self.inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection (asyncio.Protocol)."""
        self._stop_receiving()
        self._stop_sending()
        self._connections.open.pop(self.inner, None)
        self.inner.connection_lost(exc)
        self._transport = None

    def pause_writing(self) -> None:
        """Note that the client takes its answer more slowly than it comes (asyncio.Protocol)."""
        self.inner.pause_writing()
        self._connections.stalled.add(self)
        if self._connections.unsent() > self._connections.bounds.unsent_bytes:
            self._abort()
            return
        self._watch_sending()

    def resume_writing(self) -> None:
        """Note that it has caught up (asyncio.Protocol)."""
        self._stop_sending()
        self.inner.resume_writing()

    def _expect(self) -> None:
        self._heard = self._connections.loop.time()
        self._looks = 0
        seconds = self._connections.bounds.receive_seconds
        self._receiving = self._connections.loop.call_later(seconds, self._look_for_request)

    def _look_for_request(self) -> None:
        if self._looks < _LOOKS:
            # If it was us who stood still, what has arrived meanwhile is read, and taken up, before the last look.
            self._looks += 1
            self._receiving = self._connections.loop.call_later(_LOOK_AGAIN_SECONDS, self._look_for_request)
            return
        if self._request is None:
            self._abort()  # headers have their time as a whole, or they could be sent a byte at a time
            return
        self._receiving = None
        if self._request.content.is_eof():
            return
        silent = self._connections.loop.time() - self._heard
        left = self._connections.bounds.receive_seconds - silent
        if left <= 0:
            self._abort()
        else:
            self._looks = 0
            self._receiving = self._connections.loop.call_later(left, self._look_for_request)

    def _watch_sending(self) -> None:
        self._unsent = self.unsent()
        self._sending = self._connections.loop.call_later(self._connections.bounds.send_seconds, self._look_at_sending)

    def _look_at_sending(self) -> None:
        if self.unsent() >= self._unsent:
            self._abort()
        else:
            self._watch_sending()

    def _abort(self) -> None:
        self._stop_receiving()
        self._stop_sending()
        if self._transport is not None:
            self._transport.abort()

    def _stop_receiving(self) -> None:
        if self._receiving is not None:
            self._receiving.cancel()
            self._receiving = None

    def _stop_sending(self) -> None:
        self._connections.stalled.discard(self)
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None


class Refused(asyncio.Protocol):
    """A connection too many: its request is answered with 503, and it is closed."""

    def __init__(self, connections: Connections, count: int) -> None:
        """Be the connection that makes it `count`."""
        self._connections = connections
        self._count = count
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the request: what is sent before it may be lost with the connection (asyncio.Protocol)."""
        self._transport = cast("asyncio.Transport", transport)
        self._connections.refused.add(self)
        self._waiting = self._connections.loop.call_later(self._connections.bounds.receive_seconds, self.close)

    def data_received(self, _data: bytes) -> None:
        """Answer, whatever it is (asyncio.Protocol)."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(_too_many(self._connections.bounds.connections, self._count))
            self._transport.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Forget it (asyncio.Protocol)."""
        self._connections.refused.discard(self)
        if self._waiting is not None:
            self._waiting.cancel()

    def close(self) -> None:
        """Close it at once."""
        if self._transport is not None:
            self._transport.abort()


def _too_many(limit: int, actual: int) -> bytes:
    message = f"Too many connections: {actual}, at most {limit} are allowed"
    data = {"limit": limit, "actual": actual, "reason": "LIMIT_EXCEEDED"}
    body = error_answer(JsonRpcError(RATE_LIMITED, message, data))
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
        f"Retry-After: 1\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
