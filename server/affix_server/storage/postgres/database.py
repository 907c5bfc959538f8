"""The connection pool, and the border at which Postgres' errors become ours."""

from __future__ import annotations

import asyncio
import importlib.resources
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg

from affix_server.errors import StartError, StorageUnavailableError

# In quotes, because it is generic in the stubs only.
Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

# What says that Postgres or the way to it is at fault, not the statement.
_CONNECTION_FAULTS = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InternalClientError,
)


def statement(name: str) -> str:
    """Return the text of `sql/{name}.sql`."""
    return (importlib.resources.files(__package__) / "sql" / f"{name}.sql").read_text()


class Database:
    """A pool of connections. Callers wait for a free one, at most as long as an operation may take.

    Every method raises StorageUnavailableError when Postgres cannot be reached,
    fails, or does not answer within `timeout` seconds; the statement may have
    been executed then. No text of the driver gets past here.
    """

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], timeout: float) -> None:
        """Use a pool; `open_database` makes one."""
        self._pool = pool
        self._timeout = timeout

    async def fetch(self, sql: str, *args: object) -> Sequence[asyncpg.Record]:
        """Run one statement in a transaction of its own."""
        async with self.connection() as connection:
            return await connection.fetch(sql, *args)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection; one that does not answer in time is terminated."""
        try:
            connection = await self._pool.acquire(timeout=self._timeout)
        except TimeoutError:
            raise StorageUnavailableError("Database connection timeout") from None
        except _CONNECTION_FAULTS:
            raise StorageUnavailableError("Database connection failed") from None
        try:
            async with asyncio.timeout(self._timeout):
                yield connection
        except TimeoutError:
            # Cancelling a query waits for a server that may be frozen; hanging up does not.
            connection.terminate()
            raise StorageUnavailableError("Database connection timeout") from None
        except _CONNECTION_FAULTS:
            raise StorageUnavailableError("Database connection failed") from None
        finally:
            await self._pool.release(connection, timeout=1.0)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection inside a transaction that commits at the end, or rolls back on an exception."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def close(self) -> None:
        """Close all connections, at once if they do not end by themselves."""
        try:
            await asyncio.wait_for(self._pool.close(), timeout=self._timeout)
        except TimeoutError:
            self._pool.terminate()


async def open_database(dsn: str, *, operation_timeout: float, size: int = 10) -> Database:
    """Connect to Postgres. Raises StartError if that fails."""
    timeout = operation_timeout
    try:
        pool: Any = await asyncio.wait_for(
            asyncpg.create_pool(
                dsn,
                min_size=1,
                max_size=size,
                timeout=timeout,
                server_settings={"application_name": "affix"},
            ),
            timeout=timeout + 1,
        )
    except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as fault:
        raise StartError(f"cannot reach PostgreSQL (AFFIX_POSTGRES_DSN): {describe(fault)}") from None
    return Database(pool, timeout)


def describe(fault: BaseException) -> str:
    """Put a connection fault in one line for the operator, without the DSN."""
    if isinstance(fault, TimeoutError):
        return "no answer in time"
    return str(fault).splitlines()[0] if str(fault) else type(fault).__name__
