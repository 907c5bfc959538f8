"""`affix serve`, and the part of it that `affix up` shares: both wires, in one process or in several."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
import typer

from affix_cli import __version__, certificates, guard, http, logs, memory, metrics, ready, tracing
from affix_cli.addresses import Addresses
from affix_cli.certificates import Certificates
from affix_cli.connections import Bounds
from affix_cli.failures import Failure
from affix_cli.foreground import Announce, Operator, serve_until_stopped
from affix_cli.settings import load_with_stores
from affix_cli.workers.parent import workers_at
from affix_server.app import Server, open_server
from affix_server.config import Settings
from affix_server.errors import StartError
from affix_shim.app import make_app
from affix_shim.openrpc.discovery import Discovery

_log = structlog.get_logger()


async def serve(workers: int | None) -> int:
    """Serve with the stores of the settings until a signal; return the exit code. Raises Failure."""
    settings = load_with_stores("affix serve", " (`affix up` brings its own stores)")
    if workers is not None:
        settings = settings.model_copy(update={"workers": workers})

    def announce(addresses: Addresses) -> None:
        typer.echo(ready.serve_message(addresses.grpc, addresses.http, tls=settings.tls_certificate is not None))

    return await serve_settings(settings, Operator(), announce)


async def serve_settings(settings: Settings, operator: Operator, announce: Announce[Addresses]) -> int:
    """Serve until the operator stops it; return the exit code. Raises Failure when it cannot start."""
    configure_log(settings)
    service = workers_at(settings) if settings.workers > 1 else both_wires(settings)
    try:
        return await serve_until_stopped(service, operator, announce)
    except StartError as error:
        raise Failure(str(error)) from error


def configure_log(settings: Settings) -> None:
    """Log as the settings say."""
    logs.configure(settings.log_level, settings.log_format)


@asynccontextmanager
async def both_wires(settings: Settings, telling: metrics.Telling = metrics.alone) -> AsyncIterator[Addresses]:
    """Serve both wires in this process, and at the end answer the calls under way.

    From the end of the block on it is not ready, but serves on for AFFIX_DRAIN_PAUSE_SECONDS, so that
    whoever chooses among servers has left it when its ports close. Raises Failure or StartError when it cannot start.
    """
    registry = metrics.process_registry()
    shown = _certificates(settings)
    tls = None if shown is None else shown.grpc()
    async with (
        telling(registry) as text,
        tracing.configured("affix") as spans,
        open_server(settings, registry, spans, tls=tls) as server,
    ):
        app = make_app(
            server.printing_channel,
            metrics=text,
            max_body_bytes=settings.max_message_bytes,
            max_batch=settings.max_jsonrpc_batch,
            registry=registry,
            log_calls=settings.log_calls != "off",
            spans=spans,
            discovery=_discovery(settings, server),
        )
        if settings.metrics_access == "off":
            guard.shut(app, "/metrics")
        elif settings.metrics_access == "authenticated":
            guard.guard(app, "/metrics", lambda request: server.knows(request.headers.items()))
        async with http.serving(
            app,
            settings.http_listen,
            grace_seconds=settings.drain_seconds,
            bounds=_bounds(settings),
            certificates=shown,
            share_port=settings.workers > 1,
        ) as site:
            memory.settle()
            yield Addresses(server.grpc_address, site.address)
            server.unready()
            site.leave()
            await asyncio.sleep(settings.drain_pause_seconds)
            # Neither wire takes new calls while the other finishes its own; the stores close after both.
            drained = asyncio.create_task(server.drain())
        await drained


def _discovery(settings: Settings, server: Server) -> Discovery | None:
    if settings.discover_access == "off":
        return None
    return Discovery(__version__, knows=server.knows if settings.discover_access == "authenticated" else None)


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
