"""The connection pool, and the border at which Postgres' errors become ours."""

from __future__ import annotations

import asyncio
import importlib.resources
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any, TypeAlias, TypeVar

import asyncpg
from prometheus_client.core import Metric

from affix_server.errors import CircuitOpenError, StartError, StorageUnavailableError
from affix_server.metrics import Timings, gauge, timings
from affix_server.resilience import Circuit
from affix_server.storage.clock import Clock
from affix_server.storage.ongoing import Ongoing
from affix_server.tracing import Spans

# In quotes, because it is generic in the stubs only.
Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
V = TypeVar("V")
Work = Callable[[Connection], Awaitable[V]]

# What says that Postgres or the way to it is at fault, not the statement.
_STORE_FAULTS = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InternalClientError,
    asyncpg.PostgresSystemError,
    asyncpg.TransactionRollbackError,
)
# Of two clocks that run apart by a millionth or so, after which a step of one of them has to be noticed, too.
_OFFSET_HOLDS_US = 10_000_000
# Connections: those for group commits, which are beside the pool, and all that a process has.
_POOL_SIZE, COMMITS_AT_A_TIME = 10, 3
CONNECTIONS = _POOL_SIZE + COMMITS_AT_A_TIME
_CLOCK = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"


def statement(name: str) -> str:
    """Return the text of `sql/{name}.sql`."""
    return (importlib.resources.files(__package__) / "sql" / f"{name}.sql").read_text()


class Database:
    """Connections behind a circuit breaker. Callers wait for a free one as long as a statement may take.

    Group commits have their own, so that no reads keep them waiting
    (docs/decisions/0035-what-a-write-costs.md).

    Every method raises StorageUnavailableError when Postgres cannot be reached,
    fails, or does not answer within `timeout` seconds (the work may have been
    done then), and CircuitOpenError when it is not even asked. No text of the driver
    gets past here. Work begun goes on to its end although its caller is
    cancelled: cancelling a query would wait for a server that may be frozen.
    """

    def __init__(self, pool: Pool, commits: Pool, circuit: Circuit, timeout: float, spans: Spans | None = None) -> None:
        """Use a pool, and that of the group commits; `open_database` makes them."""
        self._pool = pool
        self._commits = commits
        self._circuit = circuit
        self.timeout = timeout
        self._work = Ongoing()
        # The clock of this host, until Postgres has shown its own.
        self._offset_us = (time.time_ns() - time.monotonic_ns()) // 1000
        self._offset_read_at = -_OFFSET_HOLDS_US - 1
        self.clock = Clock(lambda: self.now_us)
        self._spans = spans
        self._waiting = 0
        self._timings = Timings()

    def metrics(self) -> Iterable[Metric]:
        """Show how long Postgres takes, and how much of the pool is in use."""
        size = self._pool.get_size() + self._commits.get_size()
        idle = self._pool.get_idle_size() + self._commits.get_idle_size()
        return (
            timings(
                "affix_postgres_seconds", "Time that PostgreSQL takes for a statement or transaction", self._timings
            ),
            gauge("affix_postgres_pool_size", "Connections to PostgreSQL", size),
            gauge("affix_postgres_pool_in_use", "Connections to PostgreSQL that work", size - idle),
            gauge("affix_postgres_pool_waiting", "Calls that wait for a connection to PostgreSQL", self._waiting),
        )

    @property
    def now_us(self) -> int:
        """The clock of Postgres in microseconds, as far as it is known."""
        return time.monotonic_ns() // 1000 + self._offset_us

    async def fetch(self, sql: str, *args: object) -> Sequence[asyncpg.Record]:
        """Run one statement in a transaction of its own."""
        return await self.run(lambda connection: connection.fetch(sql, *args))

    async def transact(self, work: Work[V]) -> V:
        """Do work inside a transaction that commits at its end, or rolls back on an exception."""

        async def in_transaction(connection: Connection) -> V:
            async with connection.transaction():
                return await work(connection)

        return await self.run(in_transaction)

    async def run(self, work: Work[V], *, probing: bool = False) -> V:
        """Do work on a connection. `probing` is for whoever has begun the circuit's probe: it passes."""
        if not probing:
            self._circuit.check()
        return await self._asked(self._pool, work, 1)

    async def commit(self, work: Work[V], weight: int) -> V:
        """Do work on a connection of the group commits; a failure counts `weight` times, for as many callers."""
        self._circuit.check()
        return await self._asked(self._commits, work, weight)

    async def probe(self) -> None:
        """Ask Postgres for its clock, whatever the circuit says."""
        clock = self._run(self._pool, lambda connection: connection.fetchval(_CLOCK), 0)
        self.read_clock(await self._work.run(clock))

    def read_clock(self, now_us: int) -> None:
        """Take note of what Postgres' clock has just shown.

        What is known of it lags behind by the time of an answer, if anything: the shortest of late counts.
        """
        read_at = time.monotonic_ns() // 1000
        offset = now_us - read_at
        if offset >= self._offset_us or read_at - self._offset_read_at > _OFFSET_HOLDS_US:
            self._offset_us, self._offset_read_at = offset, read_at

    async def _asked(self, pool: Pool, work: Work[V], weight: int) -> V:
        with self._spans.ask("postgresql", "statement") if self._spans is not None else nullcontext():
            return await self._work.run(self._run(pool, work, weight))

    async def _run(self, pool: Pool, work: Work[V], weight: int) -> V:
        try:
            result = await self._run_bounded(pool, work)
        except StorageUnavailableError:
            self._circuit.failed(weight)
            raise
        self._circuit.succeeded()
        return result

    async def _run_bounded(self, pool: Pool, work: Work[V]) -> V:
        self._waiting += 1
        try:
            connection = await pool.acquire(timeout=self.timeout)
        except TimeoutError:
            raise StorageUnavailableError("Database connection timeout") from None
        except _STORE_FAULTS:
            raise StorageUnavailableError("Database connection failed") from None
        finally:
            self._waiting -= 1
        begun = time.perf_counter()
        burnt = False

        def burn() -> None:
            nonlocal burnt
            burnt = True
            connection.terminate()

        # Not asyncio.timeout: a cancelled query waits for its server's consent, which a frozen one never gives.
        fuse = asyncio.get_running_loop().call_later(self.timeout, burn)
        try:
            return await work(connection)
        except _STORE_FAULTS:
            cause = "Database connection timeout" if burnt else "Database connection failed"
            raise StorageUnavailableError(cause) from None
        except AttributeError:
            # What asyncpg raises where it goes on with a connection that has been terminated meanwhile.
            if not _is_closed(connection):
                raise
            raise StorageUnavailableError("Database connection failed") from None
        finally:
            fuse.cancel()
            self._timings.observe(time.perf_counter() - begun)
            await self._release(pool, connection)

    async def _release(self, pool: Pool, connection: Connection) -> None:
        try:
            await pool.release(connection, timeout=1.0)
        except (TimeoutError, *_STORE_FAULTS):
            pass  # the pool has dropped the connection; what was asked of it has been answered, or has failed by itself

    async def close(self) -> None:
        """Close all connections, at once if they do not end by themselves."""
        await self._work.join()
        for pool in (self._commits, self._pool):
            try:
                await asyncio.wait_for(pool.close(), timeout=self.timeout)
            except TimeoutError:
                pool.terminate()


def _is_closed(connection: Connection) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        return True  # the pool has let go of it


async def open_database(
    dsn: str, circuit: Circuit, *, operation_timeout: float, size: int = _POOL_SIZE, spans: Spans | None = None
) -> Database:
    """Connect to Postgres, with `size` connections at most and those of the group commits.

    Raises StartError if that fails.
    """
    timeout = operation_timeout
    pool = await _open_pool(dsn, timeout, max_size=size)
    try:
        commits = await _open_pool(dsn, timeout, max_size=COMMITS_AT_A_TIME, init=_plan_once, reset=_leave)
    except StartError:
        pool.terminate()
        raise
    database = Database(pool, commits, circuit, timeout, spans)
    try:
        await database.probe()
    except (StorageUnavailableError, CircuitOpenError):
        await database.close()
        raise StartError("cannot use PostgreSQL (AFFIX_POSTGRES_DSN): it does not answer") from None
    return database


async def _open_pool(dsn: str, seconds: float, **options: Any) -> Any:
    settings = {"application_name": "affix"}
    try:
        pool = asyncpg.create_pool(dsn, min_size=1, timeout=seconds, server_settings=settings, **options)
        return await asyncio.wait_for(pool, timeout=seconds + 1)
    except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as fault:
        raise StartError(f"cannot reach PostgreSQL (AFFIX_POSTGRES_DSN): {describe(fault)}") from None


async def _plan_once(connection: Connection) -> None:
    # To plan the statement of a group commit takes longer than to run it, and no plan for any writes is worse.
    await connection.execute("SET plan_cache_mode = force_generic_plan")


async def _leave(_connection: Connection) -> None:
    """Leave a connection as it is: a group commit is one statement, which changes nothing of it."""


def describe(fault: BaseException) -> str:
    """Put a connection fault in one line for the operator, without the DSN."""
    if isinstance(fault, TimeoutError):
        return "no answer in time"
    return str(fault).splitlines()[0] if str(fault) else type(fault).__name__
