"""Every fault: how it is injected, and how it is healed at the end of its block."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import asyncpg
import psutil

from tests.faults.cluster import Cluster
from tests.faults.proxy import Proxy

Injection = Callable[[Cluster, random.Random], AbstractAsyncContextManager[None]]

# What is pending dies with Redis, as it says (design/storage.md, "Known limit"): nothing is flushed then.
_FLUSH = """
if #redis.call('KEYS', 'cb:task:*:pending') > 0 then return 0 end
redis.call('FLUSHALL')
return 1
"""
# ARGV 1 seed, 2 probability of each key to be evicted
_EVICT = """
math.randomseed(tonumber(ARGV[1]))
local names = redis.call('KEYS', 'cb:*')
table.sort(names)
for _, name in ipairs(names) do
  local spared = name == 'cb:intents' or string.sub(name, -8) == ':pending'
    or redis.call('TYPE', name).ok == 'hash' and redis.call('HEXISTS', name, 'pending') == 1
  if math.random() < tonumber(ARGV[2]) and not spared then
    redis.call('DEL', name)
  end
end
return 1
"""
# Between one strike and the next, at most: two of them within one operation, and time to recover.
_GAPS_SECONDS = (0.005, 0.03, 0.3)
# A store that answers in most of a second still answers in time (Redis is given one second).
_REDIS_DELAY, _POSTGRES_DELAY = 0.15, 0.3


@asynccontextmanager
async def _again_and_again(strike: Callable[[], Awaitable[object]], pause: Callable[[], float]) -> AsyncIterator[None]:
    """Strike until the end of the block, in which nothing else may fail."""

    async def storm() -> None:
        while True:
            await strike()
            await asyncio.sleep(pause())

    task = asyncio.create_task(storm())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def _redis_flushall(cluster: Cluster, chance: random.Random) -> AsyncIterator[None]:
    async with cluster.redis() as redis:
        script = redis.register_script(_FLUSH)
        async with _again_and_again(script, lambda: chance.uniform(0, chance.choice(_GAPS_SECONDS))):
            yield


@asynccontextmanager
async def _redis_evict(cluster: Cluster, chance: random.Random) -> AsyncIterator[None]:
    async with cluster.redis() as redis:
        script = redis.register_script(_EVICT)

        async def evict() -> None:
            await script(args=(chance.randrange(2**31), chance.choice((0.05, 0.2, 0.5))))

        async with _again_and_again(evict, lambda: chance.uniform(0, chance.choice(_GAPS_SECONDS))):
            yield


@asynccontextmanager
async def _redis_freeze(cluster: Cluster, _: random.Random) -> AsyncIterator[None]:
    async with _frozen([psutil.Process(cluster.valkey.pid)]):
        yield


@asynccontextmanager
async def _postgres_freeze(cluster: Cluster, _: random.Random) -> AsyncIterator[None]:
    postmaster = psutil.Process(cluster.postgres.pid)
    # The postmaster first, so that no backend is born meanwhile.
    async with _frozen([postmaster]), _frozen(postmaster.children(recursive=True)):
        yield


@asynccontextmanager
async def _frozen(processes: list[psutil.Process]) -> AsyncIterator[None]:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def _redis_kill(cluster: Cluster, _: random.Random) -> AsyncIterator[None]:
    cluster.valkey.kill()
    try:
        yield
    finally:
        await cluster.valkey.start()


@asynccontextmanager
async def _postgres_kill(cluster: Cluster, _: random.Random) -> AsyncIterator[None]:
    cluster.postgres.kill()
    try:
        yield
    finally:
        await cluster.postgres.start()


@asynccontextmanager
async def _postgres_terminate(cluster: Cluster, chance: random.Random) -> AsyncIterator[None]:
    connection = await asyncpg.connect(cluster.postgres.dsn)
    sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    try:
        async with _again_and_again(
            lambda: connection.fetchval(f"{sql} AND backend_type = 'client backend'"),
            lambda: chance.uniform(0.05, 0.5),
        ):
            yield
    finally:
        await connection.close()


@asynccontextmanager
async def _server_kill(cluster: Cluster, chance: random.Random) -> AsyncIterator[None]:
    server = chance.choice(cluster.servers)
    await server.kill()
    try:
        yield
    finally:
        await server.start()


def _on_proxy(which: str, change: Callable[[Proxy, random.Random], Awaitable[None]]) -> Injection:
    @asynccontextmanager
    async def injected(cluster: Cluster, chance: random.Random) -> AsyncIterator[None]:
        proxy = cluster.redis_proxy if which == "redis" else cluster.postgres_proxy
        await change(proxy, chance)
        try:
            yield
        finally:
            await proxy.restore()

    return injected


async def _cut(proxy: Proxy, _: random.Random) -> None:
    await proxy.cut()


async def _blackhole(proxy: Proxy, _: random.Random) -> None:
    proxy.blackhole()


async def _lose_replies(proxy: Proxy, chance: random.Random) -> None:
    proxy.lose_replies(spare=chance.choice((0, 8, 30)))


def _delay(longest: float) -> Callable[[Proxy, random.Random], Awaitable[None]]:
    async def delay(proxy: Proxy, chance: random.Random) -> None:
        proxy.delay(0.0, chance.uniform(0.01, longest))

    return delay


INJECTIONS: dict[str, Injection] = {
    "redis.flushall": _redis_flushall,
    "redis.evict": _redis_evict,
    "redis.freeze": _redis_freeze,
    "redis.kill": _redis_kill,
    "redis.cut": _on_proxy("redis", _cut),
    "redis.blackhole": _on_proxy("redis", _blackhole),
    "redis.delay": _on_proxy("redis", _delay(_REDIS_DELAY)),
    "redis.lose_replies": _on_proxy("redis", _lose_replies),
    "postgres.freeze": _postgres_freeze,
    "postgres.kill": _postgres_kill,
    "postgres.cut": _on_proxy("postgres", _cut),
    "postgres.blackhole": _on_proxy("postgres", _blackhole),
    "postgres.delay": _on_proxy("postgres", _delay(_POSTGRES_DELAY)),
    "postgres.lose_replies": _on_proxy("postgres", _lose_replies),
    "postgres.terminate": _postgres_terminate,
    "server.kill": _server_kill,
}
