"""Both wires in this process: the server, and JSON-RPC over a channel that stays within the process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from affix_cli import http
from affix_server.app import open_server
from affix_server.config import Settings
from affix_shim.app import make_app


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the two wires are served, `host:port` as really bound."""

    grpc: str
    http: str


@asynccontextmanager
async def both_wires(
    settings: Settings, registry: CollectorRegistry, metrics: Callable[[], Awaitable[bytes]]
) -> AsyncIterator[Addresses]:
    """Serve both, with `metrics` for /metrics; at the end calls under way are answered.

    From the end of the block on it is not ready, but serves on for AFFIX_DRAIN_PAUSE_SECONDS, so that
    whoever chooses among servers has left it when its ports close. Raises Failure or StartError when it cannot start.
    """
    async with open_server(settings, registry) as server:
        app = make_app(server.channel, metrics=metrics, max_body_bytes=settings.max_message_bytes)
        share, grace = settings.workers > 1, settings.drain_seconds
        async with http.serving(app, settings.http_listen, grace_seconds=grace, share_port=share) as site:
            yield Addresses(server.grpc_address, site.address)
            server.unready()
            site.leave()
            await asyncio.sleep(settings.drain_pause_seconds)
            # Neither wire takes new calls while the other finishes its own; the stores close after both.
            drained = asyncio.create_task(server.drain())
        await drained
