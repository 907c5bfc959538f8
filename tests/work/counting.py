"""Between a server and its Redis: passes everything on, and notes each round trip with what was asked in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


class RoundTrips:
    """What was asked, a text for each round trip: all that was sent before a reply to any of it had come."""

    def __init__(self, upstream: Path) -> None:
        """Stand before the Redis that listens on this unix socket."""
        self._upstream = upstream
        self._links: set[_Client] = set()
        self.port = 0
        self.noted: list[bytes] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[RoundTrips]:
        """Listen on a port of 127.0.0.1 until the end of the block."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Client(self), "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for link in tuple(self._links):
                link.close()

    def about(self, name: str) -> list[bytes]:
        """Return what was asked in each round trip in which a name occurs."""
        return [asked for asked in self.noted if name.encode() in asked]

    def add(self, link: _Client) -> None:
        """Keep a connection, to be closed at the end."""
        self._links.add(link)

    def drop(self, link: _Client) -> None:
        """Forget a connection that has ended."""
        self._links.discard(link)

    @property
    def upstream(self) -> str:
        """The path of the socket of Redis."""
        return str(self._upstream)


class _Client(asyncio.Protocol):
    """A connection of the server's."""

    def __init__(self, trips: RoundTrips) -> None:
        self._trips = trips
        self._client: asyncio.Transport | None = None
        self._store: asyncio.Transport | None = None
        self._early = b""
        self._place: int | None = None
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._client = transport
        self._trips.add(self)
        self._connecting = asyncio.create_task(self._connect())

    def data_received(self, data: bytes) -> None:
        if self._place is None:
            self._place = len(self._trips.noted)
            self._trips.noted.append(data)
        else:
            self._trips.noted[self._place] += data
        if self._store is None:
            self._early += data
        else:
            self._store.write(data)

    def connection_lost(self, _fault: Exception | None) -> None:
        self.close()

    def replied(self, data: bytes) -> None:
        """Pass a reply on: what is asked from now on may depend on it."""
        self._place = None
        if self._client is not None:
            self._client.write(data)

    def close(self) -> None:
        self._trips.drop(self)
        for transport in (self._client, self._store):
            if transport is not None:
                transport.close()

    async def _connect(self) -> None:
        transport, _ = await asyncio.get_running_loop().create_unix_connection(
            lambda: _Store(self), self._trips.upstream
        )
        self._store = transport
        self._store.write(self._early)


class _Store(asyncio.Protocol):
    """The connection to Redis behind it."""

    def __init__(self, client: _Client) -> None:
        self._client = client

    def data_received(self, data: bytes) -> None:
        self._client.replied(data)

    def connection_lost(self, _fault: Exception | None) -> None:
        self._client.close()
