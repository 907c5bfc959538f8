"""Applies the migrations in `migrations/`, in order, each once."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping

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


def migrations() -> Mapping[str, str]:
    """Return the text of every migration by name, in the order in which they apply."""
    folder = importlib.resources.files(__package__) / "migrations"
    files = sorted((path for path in folder.iterdir() if path.name.endswith(".sql")), key=lambda path: path.name)
    return {path.name.removesuffix(".sql"): path.read_text() for path in files}


async def migrate(dsn: str) -> list[str]:
    """Apply what is missing, all in one transaction, and return the names of what was applied.

    Safe to run from several places at once. Raises StartError, and nothing has changed then.
    """
    try:
        connection = await asyncpg.connect(dsn, timeout=10)
        try:
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
                await connection.execute(_LEDGER)
                applied = {row["name"] for row in await connection.fetch("SELECT name FROM affix_migrations")}
                missing = {name: sql for name, sql in migrations().items() if name not in applied}
                for name, sql in missing.items():
                    await connection.execute(sql)
                    await connection.execute("INSERT INTO affix_migrations (name) VALUES ($1)", name)
        finally:
            await connection.close(timeout=5)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as fault:
        raise StartError(f"cannot migrate PostgreSQL (AFFIX_POSTGRES_DSN): {describe(fault)}") from None
    return list(missing)


async def missing_migrations(connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record]) -> list[str]:
    """Return the names of migrations that the database does not have yet."""
    ledger = await connection.fetchval("SELECT to_regclass('affix_migrations')")
    rows = await connection.fetch("SELECT name FROM affix_migrations") if ledger else []
    applied = {row["name"] for row in rows}
    return [name for name in migrations() if name not in applied]
