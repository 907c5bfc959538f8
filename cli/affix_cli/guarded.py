"""An HTTP connection that aiohttp serves, which bounds neither how slowly a request comes nor how slowly it goes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from affix_cli.sending import LOOK_AGAIN_SECONDS, LOOKS, Sending

if TYPE_CHECKING:
    from aiohttp import web

    from affix_cli.connections import Connections


class Guard(Sending):
    """aiohttp's protocol, with an eye on how long the client stands still."""

    def __init__(self, connections: Connections, inner: asyncio.Protocol) -> None:
        """Pass everything on to `inner`."""
        super().__init__(connections)
        self.inner = inner
        self._request: web.Request | None = None
        self._receiving: asyncio.TimerHandle | None = None
        self._heard = 0.0
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
        self._stop_receiving()
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

    def abort(self) -> None:
        """Cut the connection off."""
        self._stop_receiving()
        super().abort()

    def _expect(self) -> None:
        self._heard = self._connections.loop.time()
        self._looks = 0
        seconds = self._connections.bounds.receive_seconds
        self._receiving = self._connections.loop.call_later(seconds, self._look_for_request)

    def _look_for_request(self) -> None:
        if self._looks < LOOKS:
            # If it was us who stood still, what has arrived meanwhile is read, and taken up, before the last look.
            self._looks += 1
            self._receiving = self._connections.loop.call_later(LOOK_AGAIN_SECONDS, self._look_for_request)
            return
        if self._request is None:
            self.abort()  # headers have their time as a whole, or they could be sent a byte at a time
            return
        self._receiving = None
        if self._request.content.is_eof():
            return
        silent = self._connections.loop.time() - self._heard
        left = self._connections.bounds.receive_seconds - silent
        if left <= 0:
            self.abort()
        else:
            self._looks = 0
            self._receiving = self._connections.loop.call_later(left, self._look_for_request)

    def _stop_receiving(self) -> None:
        if self._receiving is not None:
            self._receiving.cancel()
            self._receiving = None
