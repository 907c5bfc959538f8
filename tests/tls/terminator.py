"""TLS in front of something that has none: the Valkey and the PostgreSQL of the tests are built without."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.tls.authority import Authority, Pair

# What a PostgreSQL client sends before it begins TLS, which the server agrees to.
_SSL_REQUEST, _AGREED = b"\0\0\0\x08\x04\xd2\x16\x2f", b"S"


@asynccontextmanager
async def terminating(
    socket: Path, pair: Pair, clients: Authority | None = None, *, asked_for: bool = False
) -> AsyncIterator[int]:
    """Serve TLS on the loopback address for what listens on a unix socket; give the port.

    With `clients`, those connect that have a certificate of it, and nobody else. TLS that is `asked_for`
    begins as PostgreSQL has it; whoever does not ask is not served.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients.certificate)
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        task.add_done_callback(connections.discard)
        if asked_for:
            if await reader.readexactly(len(_SSL_REQUEST)) != _SSL_REQUEST:
                writer.close()
                return
            writer.write(_AGREED)
            try:
                await writer.start_tls(context)
            except (ssl.SSLError, ConnectionError):
                return
        behind, ahead = await asyncio.open_unix_connection(socket)
        try:
            await asyncio.wait(
                [asyncio.create_task(_copy(reader, ahead)), asyncio.create_task(_copy(behind, writer))],
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            for one in (writer, ahead):
                one.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=None if asked_for else context)
    try:
        port: int = server.sockets[0].getsockname()[1]
        yield port
    finally:
        server.close()
        for task in tuple(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
