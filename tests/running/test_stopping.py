"""From the signal to the end: what is under way is answered, and callers are sent elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.harness.grpc_wire import GrpcWire
from tests.harness.jsonrpc_wire import JsonRpcWire
from tests.harness.service import Service, ending, shimming
from tests.harness.wire import Wire

_SECONDS = 10.0


async def _until_refused(server: Service) -> None:
    """Wait until neither port takes connections."""
    async with asyncio.timeout(_SECONDS):
        for address in (server.grpc_address, server.url.removeprefix("http://")):
            host, _, port = address.rpartition(":")
            while True:
                try:
                    _, writer = await asyncio.open_connection(host, int(port))
                except ConnectionRefusedError:
                    break
                except ConnectionResetError:  # it came as the port closed
                    continue
                writer.close()
                await asyncio.sleep(0.02)


async def _health(channel: grpc.aio.Channel) -> int:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    status: int = (await stub.Check(health_pb2.HealthCheckRequest())).status
    return status


async def test_first_it_says_that_it_leaves_and_serves_on(
    stores: Mapping[str, str], folder: Path, http: aiohttp.ClientSession
) -> None:
    settings = {**stores, "AFFIX_DRAIN_PAUSE_SECONDS": "3", "AFFIX_GRPC_MAX_CONNECTION_AGE_SECONDS": "0"}
    async with ending(settings, folder / "leaving.log") as server:
        async with grpc.aio.insecure_channel(server.grpc_address) as channel:
            assert await _health(channel) == health_pb2.HealthCheckResponse.SERVING
            server.command.terminate()
            while await _health(channel) == health_pb2.HealthCheckResponse.SERVING:
                await asyncio.sleep(0.02)
            async with http.get(f"{server.url}/readyz") as answer:
                assert answer.status == 503
                assert (await answer.json())["status"] == "not ready"
                assert answer.headers["Connection"] == "close"
            wires: list[Wire] = [GrpcWire(channel), JsonRpcWire("jsonrpc", server.url, http)]
            for wire in wires:
                assert (await wire.call("task.create", {"text": "while it leaves"}))["status"] == "pending"
            assert server.command.running
        assert await server.command.wait() == 0


async def test_a_shim_says_so_too(server: Service, folder: Path, http: aiohttp.ClientSession) -> None:
    pause = {"AFFIX_DRAIN_PAUSE_SECONDS": "2"}

    async def stop() -> None:
        await shim.__aexit__(None, None, None)

    shim = shimming(server.grpc_address, folder / "leaving-shim.log", pause)
    url = await shim.__aenter__()
    async with http.get(f"{url}/readyz") as answer:
        assert answer.status == 200
    stopping = asyncio.create_task(stop())
    async with asyncio.timeout(_SECONDS):
        status = 200
        while status == 200:
            async with http.get(f"{url}/readyz") as answer:
                status = answer.status
    assert status == 503
    wire = JsonRpcWire("jsonrpc-shim", url, http)
    assert (await wire.call("task.create", {"text": "while it leaves"}))["status"] == "pending"
    await stopping


@asynccontextmanager
async def _tasks_locked(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Let no task be written until the end of the block."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE tasks IN SHARE MODE")
            yield connection
    finally:
        await connection.close()


async def _waiting(connection: asyncpg.Connection, count: int) -> None:
    """Wait until so many statements wait for the lock."""
    asked = "SELECT count(*) FROM pg_locks WHERE relation = 'tasks'::regclass AND NOT granted"
    async with asyncio.timeout(_SECONDS):
        while await connection.fetchval(asked) < count:
            await asyncio.sleep(0.02)


async def test_what_is_under_way_is_answered(
    stores: Mapping[str, str], folder: Path, http: aiohttp.ClientSession
) -> None:
    settings = {**stores, "AFFIX_OPERATION_TIMEOUT_SECONDS": "10"}
    async with ending(settings, folder / "under-way.log") as server:
        async with grpc.aio.insecure_channel(server.grpc_address) as channel:
            wires: list[Wire] = [GrpcWire(channel), JsonRpcWire("jsonrpc", server.url, http)]
            async with _tasks_locked(stores["AFFIX_POSTGRES_DSN"]) as connection:
                calls = [asyncio.create_task(wire.call("task.create", {"text": "slow"})) for wire in wires]
                await _waiting(connection, len(calls))
                server.command.terminate()
                await _until_refused(server)
                assert not any(call.done() for call in calls)
            assert [(await call)["text"] for call in calls] == ["slow", "slow"]
        assert await server.command.wait() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_what_takes_longer_than_it_may_is_cut_off(workers: str, stores: Mapping[str, str], folder: Path) -> None:
    settings = {**stores, "AFFIX_DRAIN_SECONDS": "0.5", "AFFIX_WORKERS": workers}
    async with ending(settings, folder / "cut-off.log") as server:
        host, _, port = server.url.removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = b"POST /rpc HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"
        writer.write(head + b"Expect: 100-continue\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 100")  # it waits for a body that does not come
        server.command.terminate()
        assert await server.command.wait() == 0
        writer.close()
