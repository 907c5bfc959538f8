"""Applies the migrations in `migrations/`, in order, each once (docs/decisions/0029-migrations.md)."""

from __future__ import annotations

import asyncio
import importlib.resources
import re
from collections.abc import Mapping
from typing import TypeAlias

import asyncpg

from affix_server.errors import StartError
from affix_server.storage.postgres.database import describe

# Any number that nobody else locks with; two migrations at once would trip over each other.
_LOCK = 0x4146464958
_LEDGER = """
CREATE TABLE IF NOT EXISTS affix_migrations (
    name text PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
# A migration that begins with this line is run statement by statement, each committed by itself, as building
# an index CONCURRENTLY asks for. It may be cut short and run again, so each statement must bear that.
ONE_BY_ONE = "-- One by one.\n"
# While a statement waits for its lock on a table, whatever comes later waits too: less long than a server is patient.
_LOCK_TIMEOUT_MS = 500
_ATTEMPTS = 120
_PAUSE_SECONDS = 0.5
_INDEX = re.compile(r"CREATE INDEX CONCURRENTLY IF NOT EXISTS (\w+)")
_RECORD = "INSERT INTO affix_migrations (name) VALUES ($1)"

# In quotes, because they are generic in the stubs only.
_Asking: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
_Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


def migrations() -> Mapping[str, str]:
    """Return the text of every migration by name, in the order in which they apply."""
    folder = importlib.resources.files(__package__) / "migrations"
    files = sorted((path for path in folder.iterdir() if path.name.endswith(".sql")), key=lambda path: path.name)
    return {path.name.removesuffix(".sql"): path.read_text() for path in files}


async def migrate(dsn: str) -> list[str]:
    """Apply what is missing, each migration in a transaction of its own, and return the names of what was applied.

    Safe beside servers that use the database, and from several places at once: one applies, the others wait.
    Raises StartError; what had been applied before stays, and may be gone on from.
    """
    try:
        connection = await asyncpg.connect(dsn, timeout=10)
        try:
            await _take_turn(connection)
            await connection.execute(_LEDGER)
            missing = await missing_migrations(connection)
            texts = migrations()
            for name in missing:
                await _apply(connection, name, texts[name])
        finally:
            await connection.close(timeout=5)
    except asyncpg.LockNotAvailableError:
        raise StartError(
            "cannot migrate PostgreSQL (AFFIX_POSTGRES_DSN): another session keeps a table locked "
            "(see pg_stat_activity for transactions that stay open); try again when it has ended"
        ) from None
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as fault:
        raise StartError(f"cannot migrate PostgreSQL (AFFIX_POSTGRES_DSN): {describe(fault)}") from None
    return missing


async def _take_turn(connection: _Connection) -> None:
    # Asked for again and again, not waited for: whoever waits in a statement keeps an index from being built.
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):  # noqa: ASYNC110 - as said
        await asyncio.sleep(_PAUSE_SECONDS / 5)


async def _apply(connection: _Connection, name: str, text: str) -> None:
    if not text.startswith(ONE_BY_ONE):
        await _patiently(connection, text, name)
        return
    for statement in _statements(text):
        if "CONCURRENTLY" in statement:  # waits for others, who never wait for it
            await _drop_unfinished(connection, statement)
            await connection.execute(statement)
        else:
            await _patiently(connection, statement)
    await connection.execute(_RECORD, name)


async def _patiently(connection: _Connection, text: str, name: str | None = None) -> None:
    """Run statements in one transaction, recorded under a name if there is one; try again while a lock is not free."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT_MS}")
                await connection.execute(text)
                if name is not None:
                    await connection.execute(_RECORD, name)
        except asyncpg.LockNotAvailableError:
            if attempt == _ATTEMPTS:
                raise
            await asyncio.sleep(_PAUSE_SECONDS)
        else:
            return


def _statements(text: str) -> list[str]:
    """Split at semicolons that end a line: there are no functions in a migration that is run one by one."""
    bare = re.sub(r"^--.*\n", "", text, flags=re.MULTILINE)
    return [statement.strip() for statement in re.split(r";\s*\n", bare) if statement.strip()]


async def _drop_unfinished(connection: _Connection, statement: str) -> None:
    """Make room for an index whose building was cut short: it is there, but invalid, and would never be finished."""
    built = _INDEX.match(statement)
    if built is None:
        return
    unfinished = "SELECT true FROM pg_index WHERE indexrelid = to_regclass($1) AND NOT indisvalid"
    if await connection.fetchval(unfinished, built[1]):
        await connection.execute(f"DROP INDEX CONCURRENTLY {built[1]}")


async def missing_migrations(connection: _Asking) -> list[str]:
    """Return the names of migrations that the database does not have yet."""
    ledger = await connection.fetchval("SELECT to_regclass('affix_migrations')")
    rows = await connection.fetch("SELECT name FROM affix_migrations") if ledger else []
    applied = {row["name"] for row in rows}
    return [name for name in migrations() if name not in applied]
