"""`affix serve`, and the part of it that `affix up` shares: both wires in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import typer

from affix_cli import guard, http, logs, metrics, ready
from affix_cli.failures import Failure
from affix_cli.foreground import Operator, serve_until_stopped
from affix_cli.settings import load
from affix_server.app import open_server
from affix_server.config import Settings
from affix_server.errors import StartError
from affix_shim.app import make_app


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the two wires are served, `host:port` as really bound."""

    grpc: str
    http: str


async def serve() -> int:
    """Serve with the stores of the settings until a signal; return the exit code. Raises Failure."""
    settings = load()
    missing = [
        name
        for name, value in (("AFFIX_POSTGRES_DSN", settings.postgres_dsn), ("AFFIX_REDIS_URL", settings.redis_url))
        if value is None
    ]
    if missing:
        raise Failure(f"affix serve needs {' and '.join(missing)} (`affix up` brings its own stores)")

    def announce(addresses: Addresses) -> None:
        typer.echo(ready.serve_message(addresses.grpc, addresses.http))

    return await serve_settings(settings, Operator(), announce)


async def serve_settings(settings: Settings, operator: Operator, announce: Callable[[Addresses], None]) -> int:
    """Serve until the operator stops it; return the exit code. Raises Failure when it cannot start."""
    logs.configure(settings.log_level)
    try:
        return await serve_until_stopped(_service(settings), operator, announce)
    except StartError as error:
        raise Failure(str(error)) from error


@asynccontextmanager
async def _service(settings: Settings) -> AsyncIterator[Addresses]:
    registry = metrics.process_registry()
    async with open_server(settings, registry) as server:
        app = make_app(
            server.channel, metrics=lambda: metrics.text(registry), max_body_bytes=settings.max_message_bytes
        )
        if settings.metrics_access == "off":
            guard.shut(app, "/metrics")
        elif settings.metrics_access == "authenticated":
            guard.guard(app, "/metrics", lambda request: server.knows(request.headers.items()))
        # A call ends within the operation timeout; the second more is for writing its answer.
        grace = settings.operation_timeout_seconds + 1
        async with http.serving(app, settings.http_listen, grace_seconds=grace) as address:
            yield Addresses(server.grpc_address, address)
            # Neither wire takes new calls while the other finishes its own; the stores close after both.
            drained = asyncio.create_task(server.drain())
        await drained
