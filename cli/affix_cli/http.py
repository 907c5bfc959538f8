"""An aiohttp application on a listen address."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiohttp import web

from affix_cli.certificates import Certificates
from affix_cli.connections import Bounds, Connections, InFlight
from affix_cli.direct import KEEPALIVE_SECONDS
from affix_cli.failures import Failure
from affix_shim.app import LEAVING

MAX_PORT = 65535
BACKLOG = 1024
WRITE_SECONDS = 1.0  # for answers that are made but not yet sent
LINGER_SECONDS = 0.1  # for requests that were sent before their senders could know


def host_and_port(listen: str) -> tuple[str, int]:
    """Split `host:port`, with an IPv6 host in brackets. Raises Failure when it is not that."""
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):([0-9]{1,5})", listen)
    if found is None or int(found[2]) > MAX_PORT:
        raise Failure(f"{listen!r} is not an address: it must look like 127.0.0.1:8080 or [::1]:8080")
    return found[1].strip("[]"), int(found[2])


class Site:
    """An application that is served, at `address`."""

    def __init__(self, app: web.Application, in_flight: InFlight) -> None:
        """Made by `serving`."""
        self.address = ""
        self._leaving = app[LEAVING]
        self._in_flight = in_flight

    def leave(self) -> None:
        """Be ready no more, and end each connection with its next answer; all is still answered."""
        self._leaving.set()

    async def finished(self, seconds: float) -> None:
        """Wait until no call is being answered, or the time is up.

        aiohttp's own shutdown does not read on, and so never answers a call
        whose body is still arriving.
        """
        await asyncio.sleep(min(LINGER_SECONDS, seconds))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._in_flight.over()


@asynccontextmanager
async def serving(
    app: web.Application,
    listen: str,
    *,
    grace_seconds: float,
    bounds: Bounds,
    certificates: Certificates | None = None,
    share_port: bool = False,
) -> AsyncIterator[Site]:
    """Serve the application within bounds, over TLS if there are certificates; gives the site, with its address.

    At the end no connection is accepted any more, and calls in flight have
    `grace_seconds` to finish. A port may be shared with processes that share it too.
    Raises Failure when the address cannot be bound.
    """
    host, port = host_and_port(listen)
    # Signals are the command's, and calls are logged where they are served.
    runner = web.AppRunner(
        app,
        handle_signals=False,
        access_log=None,
        shutdown_timeout=WRITE_SECONDS,
        keepalive_timeout=KEEPALIVE_SECONDS,
        lingering_time=0,
    )
    connections = Connections(app, bounds)
    site = Site(app, connections.in_flight)
    await runner.setup()
    connections.server = runner.server
    tls = None if certificates is None else certificates.http()
    try:
        try:
            loop = asyncio.get_running_loop()
            listener = await loop.create_server(
                connections,
                host,
                port,
                backlog=BACKLOG,
                reuse_port=share_port or None,
                ssl=tls,
                # A handshake that is not finished is a request that has not arrived.
                ssl_handshake_timeout=None if tls is None else bounds.receive_seconds,
            )
        except socket.gaierror as error:
            raise Failure(f"cannot serve HTTP on {listen}: {error.strerror}") from error
        except OSError as error:
            why = os.strerror(error.errno).lower() if error.errno else str(error)
            raise Failure(f"cannot serve HTTP on {listen} (AFFIX_HTTP_LISTEN): {why}") from error
        bound = listener.sockets[0].getsockname()
        site.address = f"[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"{bound[0]}:{bound[1]}"
        try:
            yield site
        finally:
            site.leave()
            listener.close()
            connections.close_refused()
            await app.shutdown()  # what would go on for ever ends; the runner does this too late
            await site.finished(grace_seconds)
            await connections.close(WRITE_SECONDS)
    finally:
        await runner.cleanup()
