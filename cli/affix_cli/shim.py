"""`affix shim`: JSON-RPC for a gRPC server elsewhere. Imports nothing of the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
import typer

from affix_cli import __version__, guard, http, logs, memory, metrics, ready, tracing
from affix_cli.certificates import Certificates, Files
from affix_cli.connections import Bounds
from affix_cli.failures import Failure
from affix_cli.foreground import Operator, serve_until_stopped
from affix_cli.target import Target
from affix_shim.app import make_app
from affix_shim.openrpc.discovery import Discovery

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Logs:
    """What is logged, and how: as the settings of the same names."""

    level: str
    format: str
    calls: str


@dataclass(frozen=True, slots=True)
class Serving:
    """How JSON-RPC is served."""

    listen: str
    files: Files | None
    bounds: Bounds
    max_message_bytes: int
    max_batch: int
    timeout_seconds: float
    drain_pause_seconds: float
    drain_seconds: float
    log: Logs
    metrics_access: str
    discover_access: str


async def shim(target: Target, serving: Serving) -> int:
    """Serve until a signal; return the exit code. Raises Failure when it cannot start."""
    http.host_and_port(target.address)
    if serving.metrics_access not in {"open", "off"}:
        raise Failure(
            "affix shim cannot tell who reads its /metrics: "
            f"AFFIX_METRICS_ACCESS must be open or off, not {serving.metrics_access!r}"
        )
    if serving.discover_access not in {"open", "off"}:
        raise Failure(
            "affix shim cannot tell who asks for rpc.discover: "
            f"AFFIX_DISCOVER_ACCESS must be open or off, not {serving.discover_access!r}"
        )
    logs.configure(serving.log.level, serving.log.format)
    operator = Operator()

    def announce(address: str) -> None:
        typer.echo(ready.shim_message(address, target.address, tls=serving.files is not None))

    return await serve_until_stopped(_service(target, serving), operator, announce)


@asynccontextmanager
async def _service(target: Target, serving: Serving) -> AsyncIterator[str]:
    options = [
        ("grpc.max_send_message_length", serving.max_message_bytes),
        ("grpc.max_receive_message_length", serving.max_message_bytes),
        # A server that comes back is found again within a second, not within two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        # The target is the one named; http_proxy is meant for the web.
        ("grpc.enable_http_proxy", 0),
    ]
    registry = metrics.process_registry()
    shown = None if serving.files is None else Certificates(serving.files, _refused)
    async with (
        metrics.alone(registry) as text,
        tracing.configured("affix-shim") as spans,
        target.channel(options) as channel,
    ):
        app = make_app(
            channel,
            metrics=text,
            max_body_bytes=serving.max_message_bytes,
            max_batch=serving.max_batch,
            timeout_seconds=serving.timeout_seconds,
            registry=registry,
            log_calls=serving.log.calls != "off",
            spans=spans,
            discovery=Discovery(__version__) if serving.discover_access == "open" else None,
        )
        if serving.metrics_access == "off":
            guard.shut(app, "/metrics")
        async with http.serving(
            app, serving.listen, grace_seconds=serving.drain_seconds, bounds=serving.bounds, certificates=shown
        ) as site:
            memory.settle()
            yield site.address
            site.leave()
            await asyncio.sleep(serving.drain_pause_seconds)


def _refused(cause: str) -> None:
    _log.error("certificates_refused", cause=cause)
