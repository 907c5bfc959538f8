"""`affix serve`, and the part of it that `affix up` shares: both wires in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
import typer

from affix_cli import certificates, http, logs, metrics, ready
from affix_cli.certificates import Certificates
from affix_cli.connections import Bounds
from affix_cli.failures import Failure
from affix_cli.foreground import Operator, serve_until_stopped
from affix_cli.settings import load
from affix_server.app import open_server
from affix_server.config import Settings
from affix_server.errors import StartError
from affix_shim.app import make_app

_log = structlog.get_logger()


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
        typer.echo(ready.serve_message(addresses.grpc, addresses.http, tls=settings.tls_certificate is not None))

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
    shown = _certificates(settings)
    credentials = None if shown is None else shown.grpc()
    async with open_server(settings, registry, credentials=credentials) as server:
        app = make_app(
            server.channel,
            metrics=lambda: metrics.text(registry),
            max_body_bytes=settings.max_message_bytes,
            max_batch=settings.max_jsonrpc_batch,
        )
        # A call ends within the operation timeout; the second more is for writing its answer.
        grace = settings.operation_timeout_seconds + 1
        async with http.serving(
            app, settings.http_listen, grace_seconds=grace, bounds=_bounds(settings), certificates=shown
        ) as address:
            yield Addresses(server.grpc_address, address)
            # Neither wire takes new calls while the other finishes its own; the stores close after both.
            drained = asyncio.create_task(server.drain())
        await drained


def _certificates(settings: Settings) -> Certificates | None:
    files = certificates.files(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
    if files is None:
        return None
    return Certificates(files, lambda cause: _log.error("certificates_refused", cause=cause))


def _bounds(settings: Settings) -> Bounds:
    return Bounds(
        connections=settings.max_connections,
        receive_seconds=settings.receive_timeout_seconds,
        send_seconds=settings.send_timeout_seconds,
        unsent_bytes=settings.max_unsent_bytes,
    )
