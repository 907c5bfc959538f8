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

from affix_cli.bounded import Bounded
from affix_cli.direct import Direct, Heading
from affix_cli.guarded import Guard
from affix_cli.heads import Heads
from affix_shim.app import LEAVING, POSTS
from affix_shim.errors import RATE_LIMITED
from affix_shim.jsonrpc import JsonRpcError, error_answer

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


class InFlight:
    """How many requests are being answered."""

    def __init__(self) -> None:
        """Begin with none."""
        self._count = 0
        self._none: asyncio.Event | None = None

    def begin(self) -> None:
        """Count one more."""
        self._count += 1

    def end(self) -> None:
        """Count one less."""
        self._count -= 1
        if self._none is not None and not self._count:
            self._none.set()

    async def over(self) -> None:
        """Wait until there is none."""
        if self._count:
            self._none = asyncio.Event()
            await self._none.wait()


class Connections:
    """Makes the protocol of each connection of an application: at first our own, then aiohttp's, guarded.

    `server` is to be set before the first one, to what makes aiohttp's.
    """

    def __init__(self, app: web.Application, bounds: Bounds) -> None:
        """Hear of the application's requests, which is not frozen yet."""
        self.server: Callable[[], object] | None = None
        self.bounds = bounds
        app.middlewares.append(self._watch)
        self.loop = asyncio.get_running_loop()
        self.posts, self.leaving, self.heads = app[POSTS], app[LEAVING], Heads()
        self.print_head = Heading(self.leaving).print
        self.in_flight = InFlight()
        self.direct: set[Direct] = set()
        self._gone: asyncio.Event | None = None
        self.open: dict[asyncio.BaseProtocol, Guard] = {}
        self.refused: set[Refused] = set()
        self.stalled: set[Bounded] = set()

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a connection that was accepted."""
        count = len(self.direct) + len(self.open) + 1
        if count > self.bounds.connections:
            return Refused(self, count)
        direct = Direct(self)
        self.direct.add(direct)
        return direct

    def guarded(self) -> Guard:
        """Return the protocol of a connection that aiohttp is to serve."""
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
        self.in_flight.begin()
        try:
            response = await handler(request)
            if not request.content.is_eof():
                await self._linger(request, response)
            if self.leaving.is_set():
                response.force_close()
            return response
        finally:
            self.in_flight.end()
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
        """Close those that were refused and have not gone yet."""
        for refused in tuple(self.refused):
            refused.close()

    def forget(self, direct: Direct) -> None:
        """Take note that a connection is gone, or aiohttp's."""
        self.direct.discard(direct)
        if self._gone is not None and not self.direct:
            self._gone.set()

    async def close(self, seconds: float) -> None:
        """Close those that are not aiohttp's, which have so long to send what they have answered."""
        for direct in tuple(self.direct):
            direct.close_idle()
        if self.direct:
            self._gone = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._gone.wait()
        for direct in tuple(self.direct):
            direct.give_up()


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
