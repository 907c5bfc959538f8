"""`affix shim`: JSON-RPC for a gRPC server elsewhere. Imports nothing of the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc.aio
import typer

from affix_cli import http, logs, metrics, ready, tracing
from affix_cli.foreground import Operator, serve_until_stopped
from affix_shim.app import make_app


@dataclass(frozen=True, slots=True)
class Logs:
    """What is logged, and how: as the settings of the same names."""

    level: str
    format: str
    calls: str


@dataclass(frozen=True, slots=True)
class ShimSettings:
    """What `affix shim` can be told; times in seconds."""

    target: str
    listen: str
    max_message_bytes: int
    timeout_seconds: float
    drain_pause_seconds: float
    drain_seconds: float
    log: Logs


async def shim(settings: ShimSettings) -> int:
    """Serve until a signal; return the exit code. Raises Failure when it cannot start."""
    http.host_and_port(settings.target)
    logs.configure(settings.log.level, settings.log.format)
    operator = Operator()

    def announce(address: str) -> None:
        typer.echo(ready.shim_message(address, settings.target))

    return await serve_until_stopped(_service(settings), operator, announce)


@asynccontextmanager
async def _service(settings: ShimSettings) -> AsyncIterator[str]:
    options = [
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        # A server that comes back is found again within a second, not within two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        # The target is the one named; http_proxy is meant for the web.
        ("grpc.enable_http_proxy", 0),
    ]
    registry = metrics.process_registry()
    async with (
        metrics.alone(registry) as text,
        tracing.configured("affix-shim") as spans,
        grpc.aio.insecure_channel(settings.target, options=options) as channel,
    ):
        app = make_app(
            channel,
            metrics=text,
            max_body_bytes=settings.max_message_bytes,
            timeout_seconds=settings.timeout_seconds,
            registry=registry,
            log_calls=settings.log.calls != "off",
            spans=spans,
        )
        async with http.serving(app, settings.listen, grace_seconds=settings.drain_seconds) as site:
            yield site.address
            site.leave()
            await asyncio.sleep(settings.drain_pause_seconds)
