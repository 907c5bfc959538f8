"""`affix shim`: JSON-RPC for a gRPC server elsewhere. Imports nothing of the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio
import typer

from affix_cli import guard, http, metrics, ready
from affix_cli.failures import Failure
from affix_cli.foreground import Operator, serve_until_stopped
from affix_shim.app import make_app


async def shim(
    target: str, listen: str, max_message_bytes: int, timeout_seconds: float, metrics_access: str = "open"
) -> int:
    """Serve until a signal; return the exit code. Raises Failure when it cannot start."""
    http.host_and_port(target)
    if metrics_access not in {"open", "off"}:
        raise Failure(
            "affix shim cannot tell who reads its /metrics: "
            f"AFFIX_METRICS_ACCESS must be open or off, not {metrics_access!r}"
        )
    operator = Operator()

    def announce(address: str) -> None:
        typer.echo(ready.shim_message(address, target))

    service = _service(target, listen, max_message_bytes, timeout_seconds, metrics_access)
    return await serve_until_stopped(service, operator, announce)


@asynccontextmanager
async def _service(
    target: str, listen: str, max_message_bytes: int, timeout_seconds: float, metrics_access: str
) -> AsyncIterator[str]:
    options = [
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_receive_message_length", max_message_bytes),
        # A server that comes back is found again within a second, not within two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        # The target is the one named; http_proxy is meant for the web.
        ("grpc.enable_http_proxy", 0),
    ]
    registry = metrics.process_registry()
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        app = make_app(
            channel,
            metrics=lambda: metrics.text(registry),
            max_body_bytes=max_message_bytes,
            timeout_seconds=timeout_seconds,
        )
        if metrics_access == "off":
            guard.shut(app, "/metrics")
        # A call ends within its timeout; the second more is for writing its answer.
        async with http.serving(app, listen, grace_seconds=timeout_seconds + 1) as address:
            yield address
