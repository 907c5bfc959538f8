"""Two servers with narrow limits before stores that may be taken away, and a shim of its own before the first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from affix_server.rate_limits import SETTINGS
from tests.harness.service import Service, migrate, serving, shimming

LIMIT = 3
OPERATION_SECONDS = 2.0
# A limit that a test can wait out.
SHORT_SECONDS = 2
DELETE = "/affix.v1.AttachmentService/DeleteAttachment"
NO_TASK = {"taskId": "t-none", "key": "k"}
FAULTS = {
    "AFFIX_OPERATION_TIMEOUT_SECONDS": str(OPERATION_SECONDS),
    "AFFIX_CIRCUIT_THRESHOLD": "3",
    "AFFIX_CIRCUIT_OPEN_SECONDS": "0.5",
}
LIMITS = {f"AFFIX_{name.upper()}": f"{LIMIT}/minute" for name in SETTINGS.values()} | {
    "AFFIX_GET_RATE_LIMIT": f"{LIMIT} per {SHORT_SECONDS} second"
}


@dataclass(frozen=True)
class Site:
    """What the tests of this folder share."""

    folder: Path
    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey
    servers: tuple[Service, Service]
    channels: tuple[grpc.aio.Channel, grpc.aio.Channel]
    shim_url: str

    @property
    def stores(self) -> dict[str, str]:
        """The settings that name the stores."""
        return {"AFFIX_POSTGRES_DSN": self.postgres.dsn, "AFFIX_REDIS_URL": self.valkey.url}

    @property
    def urls(self) -> tuple[str, str]:
        return (self.servers[0].url, self.servers[1].url)


@asynccontextmanager
async def open_site(folder: Path) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        postgres, valkey = EmbeddedPostgres(folder), EmbeddedValkey(folder)
        for store in (postgres, valkey):
            await store.start()
            stack.push_async_callback(store.stop)
        settings = {**FAULTS, **LIMITS, "AFFIX_POSTGRES_DSN": postgres.dsn, "AFFIX_REDIS_URL": valkey.url}
        await migrate(settings, folder / "migrate.log")
        opening = [stack.enter_async_context(serving(settings, folder / f"serve-{name}.log")) for name in "ab"]
        first, second = await asyncio.gather(*opening)
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(server.grpc_address))
            for server in (first, second)
        ]
        shim_url = await stack.enter_async_context(shimming(first.grpc_address, folder / "shim.log"))
        yield Site(folder, postgres, valkey, (first, second), (channels[0], channels[1]), shim_url)


async def grpc_call(
    channel: grpc.aio.Channel, path: str = DELETE, body: bytes = b"", metadata: Mapping[str, str] = {}
) -> grpc.StatusCode:
    """Call with any bytes, which need not be a request, and return the status."""
    call: Callable[..., Awaitable[bytes]] = channel.unary_unary(path)
    try:
        await call(body, metadata=tuple(metadata.items()), timeout=2 * OPERATION_SECONDS)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def http_call(url: str, params: Any, *, source: str = "127.0.0.1", headers: Mapping[str, str] = {}) -> int:
    """Delete over JSON-RPC from a loopback address of one's own; return the code of the error."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "task.delete_attachment", "params": params}
    connector = aiohttp.TCPConnector(local_addr=(source, 0))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post(f"{url}/rpc", json=body, headers=headers) as answer,
    ):
        code: int = (await answer.json())["error"]["code"]
        return code
