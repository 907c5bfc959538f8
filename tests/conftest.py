"""Real stores, the real commands as processes, and the three wires to them, once for the session."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import asyncpg
import grpc
import pytest
from redis.asyncio import Redis

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from tests.harness.grpc_wire import OPTIONS, GrpcWire
from tests.harness.jsonrpc_wire import JsonRpcWire
from tests.harness.openrpc import DescribedWire
from tests.harness.service import INSTANCE, MAX_CONTENT_BYTES, MAX_MESSAGE_BYTES, Service, migrate, serving, shimming
from tests.harness.stores import Flush
from tests.harness.watches import GrpcWatcher, SseWatcher, Watcher, WebSocketWatcher
from tests.harness.wire import Wire

WIRES = ("grpc", "jsonrpc", "jsonrpc-shim")
JSONRPC_WIRES = WIRES[1:]
WATCHERS = ("grpc", "websocket", "websocket-shim", "sse", "sse-shim")


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A short path, for the unix sockets in it."""
    with tempfile.TemporaryDirectory(prefix="affix-") as path:
        yield Path(path)


@pytest.fixture(scope="session")
async def postgres_store(folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    store = EmbeddedPostgres(folder, options={"shared_preload_libraries": "pg_stat_statements"})
    await store.start()
    yield store
    await store.stop()


@pytest.fixture(scope="session")
async def valkey_store(folder: Path) -> AsyncIterator[EmbeddedValkey]:
    store = EmbeddedValkey(folder)
    await store.start()
    yield store
    await store.stop()


@pytest.fixture(scope="session")
async def server(
    folder: Path, postgres_store: EmbeddedPostgres, valkey_store: EmbeddedValkey
) -> AsyncIterator[Service]:
    settings = {
        "AFFIX_POSTGRES_DSN": postgres_store.dsn,
        "AFFIX_REDIS_URL": valkey_store.url,
        "AFFIX_INSTANCE_ID": INSTANCE,
        # The suite deletes more than anybody may; tests/limits has servers of its own.
        "AFFIX_DELETE_RATE_LIMIT": "none",
        "AFFIX_MAX_CONTENT_BYTES": str(MAX_CONTENT_BYTES),
        "AFFIX_MAX_MESSAGE_BYTES": str(MAX_MESSAGE_BYTES),
    }
    await migrate(settings, folder / "migrate.log")
    async with serving(settings, folder / "serve.log") as service:
        yield service


@pytest.fixture(scope="session")
async def shim_url(folder: Path, server: Service) -> AsyncIterator[str]:
    async with shimming(server.grpc_address, folder / "shim.log") as url:
        yield url


@pytest.fixture(scope="session")
async def channel(server: Service) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(server.grpc_address, options=OPTIONS) as opened:
        yield opened


@pytest.fixture(scope="session")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture(scope="session")
def grpc_wire(channel: grpc.aio.Channel) -> GrpcWire:
    return GrpcWire(channel)


@pytest.fixture(scope="session")
def jsonrpc_wires(server: Service, shim_url: str, http: aiohttp.ClientSession) -> dict[str, JsonRpcWire]:
    """JSON-RPC served by the server's own process, and by a shim in another."""
    urls = dict(zip(JSONRPC_WIRES, (server.url, shim_url), strict=True))
    return {name: DescribedWire(name, url, http) for name, url in urls.items()}


@pytest.fixture(scope="session")
def wires(grpc_wire: GrpcWire, jsonrpc_wires: dict[str, JsonRpcWire]) -> dict[str, Wire]:
    return {grpc_wire.name: grpc_wire, **jsonrpc_wires}


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest, wires: dict[str, Wire]) -> Wire:
    """Each wire in turn: what a test of it promises holds on all three."""
    return wires[request.param]


@pytest.fixture(params=JSONRPC_WIRES)
def jsonrpc(request: pytest.FixtureRequest, jsonrpc_wires: dict[str, JsonRpcWire]) -> JsonRpcWire:
    """Each of the JSON-RPC wires in turn, for what gRPC's types cannot even say."""
    return jsonrpc_wires[request.param]


@pytest.fixture(scope="session")
def watchers(
    server: Service, shim_url: str, channel: grpc.aio.Channel, http: aiohttp.ClientSession
) -> dict[str, Watcher]:
    """Every way to watch."""
    ways: list[Watcher] = [GrpcWatcher(channel)]
    for where, url in (("", server.url), ("-shim", shim_url)):
        ways += [WebSocketWatcher(f"websocket{where}", url, http), SseWatcher(f"sse{where}", url, http)]
    return {way.name: way for way in ways}


@pytest.fixture(params=WATCHERS)
def watcher(request: pytest.FixtureRequest, watchers: dict[str, Watcher]) -> Watcher:
    """Each way to watch in turn."""
    return watchers[request.param]


@pytest.fixture
async def task(grpc_wire: GrpcWire) -> str:
    """A task registered for this test alone."""
    created = await grpc_wire.call("task.create", {"text": "a test", "id": f"t-{secrets.token_hex(8)}"})
    task_id: str = created["id"]
    return task_id


@pytest.fixture
def absent_task() -> str:
    """The id of a task that was never registered."""
    return f"t-{secrets.token_hex(8)}"


@pytest.fixture(scope="session")
async def redis(valkey_store: EmbeddedValkey) -> AsyncIterator[Redis]:
    """The suite's own connection to Redis, answering str."""
    async with Redis.from_url(valkey_store.url, decode_responses=True) as client:
        yield client


@pytest.fixture(scope="session")
async def postgres(postgres_store: EmbeddedPostgres, server: Service) -> AsyncIterator[asyncpg.Connection]:
    """The suite's own connection to PostgreSQL, migrated."""
    assert server.command.running
    connection = await asyncpg.connect(postgres_store.dsn)
    await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
def flush(redis: Redis) -> Flush:
    """Make Redis forget everything."""

    async def flushall() -> None:
        await redis.flushall()

    return flushall
