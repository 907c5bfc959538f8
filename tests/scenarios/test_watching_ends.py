"""Watches end when what serves them does, and go on elsewhere from where they were."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import grpc
import pytest

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from tests.harness.grpc_wire import OPTIONS, GrpcWire
from tests.harness.samples import create
from tests.harness.service import Service, serving, shimming
from tests.harness.watches import GrpcWatcher, SseWatcher, Watch, Watcher, WebSocketWatcher
from tests.harness.wire import CallError

# Calls under way have ten seconds; nobody is to wait for watches.
_WELL_WITHIN_THE_DRAIN_SECONDS = 8.0


@asynccontextmanager
async def _all_watching(ways: list[Watcher], task: str) -> AsyncIterator[list[Watch]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(way.watch(taskId=task)) for way in ways]


async def _ends(watch: Watch) -> str | None:
    with pytest.raises(CallError) as ended:
        await watch.next()
    return ended.value.reason


async def test_watches_end_with_their_server_and_go_on_elsewhere(
    folder: Path,
    postgres_store: EmbeddedPostgres,
    valkey_store: EmbeddedValkey,
    server: Service,
    watchers: dict[str, Watcher],
    grpc_wire: GrpcWire,
    http: aiohttp.ClientSession,
    task: str,
) -> None:
    assert server.command.running
    settings = {"AFFIX_POSTGRES_DSN": postgres_store.dsn, "AFFIX_REDIS_URL": valkey_store.url}
    async with AsyncExitStack() as stack, AsyncExitStack() as ending:
        other = await ending.enter_async_context(serving(settings, folder / "ending.log"))
        shim = await stack.enter_async_context(shimming(other.grpc_address, folder / "ending-shim.log"))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(other.grpc_address, options=OPTIONS))
        ways: list[Watcher] = [GrpcWatcher(channel)]
        for url in (other.url, shim):
            ways += [WebSocketWatcher("websocket", url, http), SseWatcher("sse", url, http)]
        async with _all_watching(ways, task) as watches:
            await create(grpc_wire, task, "first")
            for watch in watches:
                assert (await watch.next())["key"] == "first"
            async with asyncio.timeout(_WELL_WITHIN_THE_DRAIN_SECONDS):
                ends = asyncio.gather(*map(_ends, watches))
                await ending.aclose()
                assert await ends == ["SHUTTING_DOWN"] * len(watches)
            await create(grpc_wire, task, "second")
            for watch in watches:
                async with watchers["grpc"].watch(taskId=task, resumeToken=watch.token) as resumed:
                    assert (await resumed.next())["key"] == "second"


async def test_watches_end_with_their_shim(
    folder: Path, server: Service, http: aiohttp.ClientSession, task: str
) -> None:
    async with AsyncExitStack() as ending:
        url = await ending.enter_async_context(shimming(server.grpc_address, folder / "ending-shim.log"))
        ways: list[Watcher] = [WebSocketWatcher("websocket", url, http), SseWatcher("sse", url, http)]
        async with _all_watching(ways, task) as watches, asyncio.timeout(_WELL_WITHIN_THE_DRAIN_SECONDS):
            ends = asyncio.gather(*map(_ends, watches))
            await ending.aclose()
            assert await ends == ["SHUTTING_DOWN"] * len(watches)
