"""An HTTP connection that aiohttp serves, which bounds neither how slowly a request comes nor how slowly it goes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from affix_cli.bounded import Bounded

if TYPE_CHECKING:
    from aiohttp import web

    from affix_cli.connections import Connections


class Guard(Bounded):
    """aiohttp's protocol, with an eye on how long the client stands still."""

    def __init__(self, connections: Connections, inner: asyncio.Protocol) -> None:
        """Pass everything on to `inner`."""
        super().__init__(connections)
        self.inner = inner
        self._request: web.Request | None = None

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

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Expect a request (asyncio.Protocol)."""
        super().connection_made(transport)
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
        self._connections.open.pop(self.inner, None)
        self.inner.connection_lost(exc)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass it on, and watch the client (asyncio.Protocol)."""
        self.inner.pause_writing()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Watch it no more, and pass it on (asyncio.Protocol)."""
        super().resume_writing()
        self.inner.resume_writing()

    def _patience(self) -> float | None:
        """Headers have their time as a whole, or they could be sent a byte at a time; a body between two pieces."""
        if self._request is None:
            return 0.0
        return None if self._request.content.is_eof() else super()._patience()
