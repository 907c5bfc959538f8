"""Stores of our own, a proxy before each, and several `affix serve` processes that know only the proxies."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import aiohttp
from redis.asyncio import Redis

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from tests.faults.clients import BrokenError, Client, GrpcClient, JsonRpcClient, LateError, open_channel
from tests.faults.proxy import Proxy, Upstream
from tests.harness.processes import Command
from tests.harness.service import migrate
from tests.harness.wire import CONFLICT, CallError

# Shorter than the defaults, so that a run of seconds sees timeouts, open circuits and their closing.
OPERATION_SECONDS = 2.0
CLIENT_SECONDS = 3.0
SETTINGS = {
    "AFFIX_OPERATION_TIMEOUT_SECONDS": str(OPERATION_SECONDS),
    "AFFIX_CIRCUIT_OPEN_SECONDS": "2",
    "AFFIX_DELETE_RATE_LIMIT": "none",
    "AFFIX_LOG_LEVEL": "info",
}
_SETTLE_SECONDS = 60.0
_PROBE = "faults-probe"


class NotSettledError(Exception):
    """The cluster did not come back after a fault was healed."""


class _Killable(Command):
    """A command that can be killed as a crash kills it."""

    async def kill(self) -> None:
        """SIGKILL it and wait for its end."""
        self._process.kill()
        await self._process.wait()


class Server:
    """One `affix serve` on ports it keeps over restarts, and a client of each wire."""

    def __init__(self, name: str, settings: Mapping[str, str], folder: Path) -> None:
        """Choose ports; `start` starts it."""
        self.name = name
        self.clients: dict[str, Client] = {}
        self._grpc, self._http = (f"127.0.0.1:{port}" for port in _free_ports(2))
        self._settings = {**settings, "AFFIX_GRPC_LISTEN": self._grpc, "AFFIX_HTTP_LISTEN": self._http}
        self._folder = folder
        self._session: aiohttp.ClientSession
        self._starts = 0
        self._command: _Killable | None = None

    async def start(self) -> None:
        """Start it and return when it is ready. Fails, showing its output, when it ends first."""
        self._starts += 1
        log = self._folder / f"{self.name}-{self._starts}.log"
        command = await _Killable.start("serve", settings=self._settings, log=log)
        assert isinstance(command, _Killable)
        self._command = command
        await command.ready("is ready.")

    async def connect(self, http: aiohttp.ClientSession, stack: AsyncExitStack) -> None:
        """Make the clients; they last over restarts."""
        channel = await stack.enter_async_context(open_channel(self._grpc))
        self.clients = {"grpc": GrpcClient(channel), "jsonrpc": JsonRpcClient(f"http://{self._http}", http)}
        self._session = http

    async def stores_out(self) -> list[str]:
        """Ask `/readyz` which stores the server does without, by name; raises aiohttp.ClientError and TimeoutError."""
        limit = aiohttp.ClientTimeout(total=CLIENT_SECONDS)
        async with self._session.get(f"http://{self._http}/readyz", timeout=limit) as response:
            stores: dict[str, str] = (await response.json())["stores"]
        return [name for name, state in stores.items() if state != "up"]

    async def kill(self) -> None:
        """End it as a crash would."""
        if self._command is not None:
            await self._command.kill()
            self._command = None

    async def stop(self) -> None:
        """Ask it to end, and wait for it."""
        if self._command is not None:
            await self._command.stop()

    @property
    def ended_by_itself(self) -> str | None:
        """What it printed, if it has ended and nobody killed it."""
        command = self._command
        return command.output if command is not None and not command.running else None


class Cluster:
    """What faults are injected into and clients call. Made by `open_cluster`."""

    def __init__(self, folder: Path, seed: int) -> None:
        """Keep everything, logs too, in a folder with a path short enough for sockets."""
        self.folder = folder
        self.postgres = EmbeddedPostgres(folder, options={"fsync": "off"})  # processes crash here, not machines
        self.valkey = EmbeddedValkey(folder)
        self.servers: list[Server] = []
        self.postgres_proxy: Proxy
        self.redis_proxy: Proxy
        self._seed = seed

    async def open(self, stack: AsyncExitStack, servers: int) -> None:
        """Start everything; `stack` stops it."""
        for store in (self.postgres, self.valkey):
            await store.start()
            stack.push_async_callback(store.stop)
        self.postgres_proxy = await stack.enter_async_context(Proxy(self._postgres_at(), seed=self._seed).running())
        self.redis_proxy = await stack.enter_async_context(Proxy(self._redis_at(), seed=self._seed).running())
        await migrate({"AFFIX_POSTGRES_DSN": self.postgres.dsn}, self.folder / "migrate.log")
        settings = {
            **SETTINGS,
            "AFFIX_POSTGRES_DSN": f"postgresql://affix@127.0.0.1:{self.postgres_proxy.port}/affix",
            "AFFIX_REDIS_URL": f"redis://127.0.0.1:{self.redis_proxy.port}/0",
        }
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        self.servers = [Server(f"server{number}", settings, self.folder) for number in range(servers)]
        for server in self.servers:
            stack.push_async_callback(server.stop)
        await asyncio.gather(*(server.start() for server in self.servers))
        for server in self.servers:
            await server.connect(http, stack)
        await self.register(_PROBE)

    async def register(self, task: str) -> None:
        """Register a task, while nothing fails."""
        client = self.servers[0].clients["grpc"]
        try:
            await client.call("task.create", {"id": task, "text": task}, CLIENT_SECONDS)
        except CallError as error:
            if error.code != CONFLICT:
                raise

    @asynccontextmanager
    async def redis(self) -> AsyncIterator[Redis]:
        """Lend a connection to Redis itself, past the proxy, answering str."""
        async with Redis.from_url(self.valkey.url, decode_responses=True) as client:
            yield client

    async def settle(self) -> None:
        """Return when every server answers again on both wires with both stores, and no write is pending.

        Before that the next fault would be a second one at the same time.

        Raises NotSettledError, with what is missing, after a minute.
        """
        end = time.monotonic() + _SETTLE_SECONDS
        while missing := await self._missing():
            if time.monotonic() > end:
                raise NotSettledError(f"{_SETTLE_SECONDS:g} s after the fault was healed, {missing}")
            await asyncio.sleep(0.1)

    async def _missing(self) -> str:
        """Say what keeps the cluster from being settled; "" if it is."""
        for server in self.servers:
            for wire, client in server.clients.items():
                key = f"probe-{secrets.token_hex(4)}"
                try:
                    if await _is_pending(client, key):
                        return f"{server.name} accepts writes as pending only"
                except (CallError, BrokenError, LateError) as error:
                    return f"{server.name} does not answer over {wire}: {error!r}"
            try:
                if out := await server.stores_out():
                    return f"{server.name} does without {' and '.join(out)}"
            except (aiohttp.ClientError, TimeoutError) as error:
                return f"{server.name} does not answer over HTTP: {error!r}"
        pending = await self.pending()
        return "; ".join([f"{len(pending)} writes are pending", *pending[:3]]) if pending else ""

    async def pending(self) -> list[str]:
        """Describe the keys that Redis alone has (design/storage.md, `cb:task:{taskId}:pending`)."""
        found = []
        async with self.redis() as redis:
            async for name in redis.scan_iter("cb:task:*:pending", count=1000):
                for key in map(str, await redis.smembers(name)):
                    task = name.removeprefix("cb:task:").removesuffix(":pending")
                    entry = await redis.hgetall(f"cb:task:{task}:attachment:{key}")
                    traces = [trace for trace in await redis.zrange("cb:intents", 0, -1) if f"{task}:{key}" in trace]
                    found.append(f"{task} {key!r}: {entry}, intents {traces}")
        return found

    def _postgres_at(self) -> Upstream:
        query = parse_qs(urlsplit(self.postgres.dsn).query)
        return Upstream(path=Path(query["host"][0]) / f".s.PGSQL.{query['port'][0]}")

    def _redis_at(self) -> Upstream:
        return Upstream(path=Path(unquote(urlsplit(self.valkey.url).path)))


async def _is_pending(client: Client, key: str) -> bool:
    ref = {"taskId": _PROBE, "key": key}
    created = await client.call("task.create_attachment", {**ref, "type": "text", "content": key}, CLIENT_SECONDS)
    await client.call("task.get_attachment", ref, CLIENT_SECONDS)
    deleted = await client.call("task.delete_attachment", ref, CLIENT_SECONDS)
    return "durability" in created or "durability" in deleted


@asynccontextmanager
async def open_cluster(folder: Path, *, servers: int = 2, seed: int = 0) -> AsyncIterator[Cluster]:
    """Run a cluster until the end of the block."""
    async with AsyncExitStack() as stack:
        cluster = Cluster(folder, seed)
        await cluster.open(stack, servers)
        yield cluster


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
