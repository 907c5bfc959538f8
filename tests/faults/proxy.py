"""A TCP proxy between the servers and a store that cuts, withholds, delays and loses what passes."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 64 * 1024


class Mode(enum.Enum):
    """What becomes of what passes."""

    PASS = "pass"  # noqa: S105 - no password
    CUT = "cut"
    BLACKHOLE = "blackhole"
    LOSE_REPLIES = "lose_replies"


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where a store listens: on a unix socket, or on host and port."""

    path: Path | None = None
    host: str = "127.0.0.1"
    port: int = 0

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to it. Raises OSError."""
        if self.path is not None:
            return await asyncio.open_unix_connection(self.path)
        return await asyncio.open_connection(self.host, self.port)


class Proxy:
    """Listens on a port of 127.0.0.1 that it keeps for life and forwards to one store.

    A change of mode applies to the connections that are open as well. Bytes
    keep their order within a connection, whatever the delay.
    """

    def __init__(self, upstream: Upstream, *, seed: int = 0) -> None:
        """Forward to `upstream`; the seed decides on delays and on which replies are lost."""
        self.mode = Mode.PASS
        self.port = 0
        self.upstream = upstream
        # The ordinary latency of a network, at most and each way, in seconds: no fault, and no mode changes it.
        self.jitter = 0.0
        self._random = random.Random(seed)  # noqa: S311 - replayed, not secret
        self._delay = (0.0, 0.0)
        self._spare = 0
        self._open = asyncio.Event()
        self._open.set()
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reserved: socket.socket | None = None
        self._server: asyncio.Server | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        """Listen until the end of the block; every connection is closed then."""
        # Bound and never listening: it holds the port while `cut` refuses connections.
        self._reserved = _bound(0)
        self.port = self._reserved.getsockname()[1]
        await self._listen()
        try:
            yield self
        finally:
            await self._refuse()
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)
            self._reserved.close()

    async def restore(self) -> None:
        """Pass everything on at once; what was withheld goes first."""
        self.mode = Mode.PASS
        self._delay = (0.0, 0.0)
        self._open.set()
        if self._server is None:
            await self._listen()

    async def cut(self) -> None:
        """Close all connections and refuse new ones."""
        self.mode = Mode.CUT
        await self._refuse()

    def blackhole(self) -> None:
        """Accept connections and forward nothing; TCP delivers it after the partition, unless a side has reset."""
        self.mode = Mode.BLACKHOLE
        self._open.clear()

    def delay(self, low: float, high: float) -> None:
        """Delay every chunk, each way, by `low` to `high` seconds."""
        self._delay = (low, high)

    def lose_replies(self, spare: int = 0) -> None:
        """Let requests through, swallow their replies, then close the connection.

        The next reply on every open connection is lost; on a new one up to
        `spare` replies pass first, so that some get past their greeting.
        """
        self.mode = Mode.LOSE_REPLIES
        self._spare = spare
        for link in self._links:
            link.spared = 0

    def loses_reply(self, link: _Link) -> bool:
        """Decide on the reply that has just come."""
        if self.mode is not Mode.LOSE_REPLIES:
            return False
        link.spared -= 1
        return link.spared < 0

    def due(self) -> float:
        """Return when a chunk that comes now is to be passed on, in the loop's time."""
        latency = self._random.uniform(*self._delay) + self._random.uniform(0, self.jitter)
        return asyncio.get_running_loop().time() + latency

    async def gate(self) -> None:
        """Wait while everything is withheld."""
        await self._open.wait()

    async def _listen(self) -> None:
        listener = _bound(self.port)
        self._server = await asyncio.start_server(self._accept, sock=listener, backlog=1024)

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for link in tuple(self._links):
            link.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            store = await self.upstream.connect()
        except OSError:
            writer.transport.abort()
            return
        link = _Link(self, (reader, writer), store)
        if self.mode is Mode.CUT:  # it was accepted just before
            link.abort()
            return
        link.spared = self._random.randint(0, self._spare)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)
            link.close()


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Link:
    """One connection: two streams and what is on its way between them."""

    def __init__(self, proxy: Proxy, client: Stream, store: Stream) -> None:
        self.spared = 0
        self._proxy = proxy
        self._client, self._store = client, store

    async def run(self) -> None:
        """Forward both ways until either side has closed or broken."""
        (client_reader, client_writer), (store_reader, store_writer) = self._client, self._store
        ways = [
            asyncio.create_task(self._forward(client_reader, store_writer, replies=False)),
            asyncio.create_task(self._forward(store_reader, client_writer, replies=True)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)

    def close(self) -> None:
        """Close both sides, once what was forwarded to them has been sent."""
        for _, writer in (self._client, self._store):
            writer.close()

    def abort(self) -> None:
        """Close both sides at once."""
        for _, writer in (self._client, self._store):
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, replies: bool) -> None:
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        sender = asyncio.create_task(self._send(chunks, writer))
        try:
            # Reading goes on while chunks wait to be sent, or a reset would go unnoticed.
            while chunk := await reader.read(_CHUNK):
                if replies and self._proxy.loses_reply(self):
                    return
                chunks.put_nowait((self._proxy.due(), chunk))
            chunks.put_nowait((self._proxy.due(), b""))
            await sender
        except OSError:
            return
        finally:
            sender.cancel()
            await asyncio.wait((sender,))

    async def _send(self, chunks: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, chunk = await chunks.get()
            await asyncio.sleep(max(due - loop.time(), 0))
            await self._proxy.gate()
            if not chunk:
                return
            with contextlib.suppress(OSError):  # the reader of that side sees it too, and ends the link
                writer.write(chunk)
                await writer.drain()


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    bound.setblocking(False)  # noqa: FBT003 - its signature
    return bound
