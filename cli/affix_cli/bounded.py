"""What all HTTP connections have in common: a client that stands still is not waited for without end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from affix_cli.connections import Connections

# Each is a round of the loop at least; a request that has arrived is begun within three.
_LOOKS, _LOOK_AGAIN_SECONDS = 5, 0.02


class Bounded(asyncio.Protocol):
    """A connection, with an eye on how long its client stands still: while it sends, and while it is sent something."""

    def __init__(self, connections: Connections) -> None:
        """Be one of these connections."""
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._receiving: asyncio.TimerHandle | None = None
        self._heard = 0.0
        self._looks = 0
        self._sending: asyncio.TimerHandle | None = None
        self._unsent = 0

    def unsent(self) -> int:
        """Return how many bytes wait for the client."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport (asyncio.Protocol)."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the connection (asyncio.Protocol)."""
        self._stop_receiving()
        self._stop_sending()
        self._transport = None

    def pause_writing(self) -> None:
        """Note that the client takes its answer more slowly than it comes (asyncio.Protocol)."""
        self._connections.stalled.add(self)
        if self._connections.unsent() > self._connections.bounds.unsent_bytes:
            self.abort()
            return
        self._watch_sending()

    def resume_writing(self) -> None:
        """Note that it has caught up (asyncio.Protocol)."""
        self._stop_sending()

    def abort(self) -> None:
        """Cut the connection off."""
        self._stop_receiving()
        self._stop_sending()
        if self._transport is not None:
            self._transport.abort()

    def _patience(self) -> float | None:
        """Return for how many seconds more the client may be silent; None if nothing is expected of it."""
        return self._connections.bounds.receive_seconds - (self._connections.loop.time() - self._heard)

    def _expect(self) -> None:
        """Expect a request, or the rest of one, from now on."""
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
        self._receiving = None
        left = self._patience()
        if left is None:
            return
        if left <= 0:
            self.abort()
        else:
            self._looks = 0
            self._receiving = self._connections.loop.call_later(left, self._look_for_request)

    def _stop_receiving(self) -> None:
        if self._receiving is not None:
            self._receiving.cancel()
            self._receiving = None

    def _watch_sending(self) -> None:
        self._unsent = self.unsent()
        self._sending = self._connections.loop.call_later(self._connections.bounds.send_seconds, self._look_at_sending)

    def _look_at_sending(self) -> None:
        if self.unsent() >= self._unsent:
            self.abort()
        else:
            self._watch_sending()

    def _stop_sending(self) -> None:
        self._connections.stalled.discard(self)
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
