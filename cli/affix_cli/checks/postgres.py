"""PostgreSQL: reachable, fit, migrated, ours to use."""

from __future__ import annotations

import time
from typing import TypeAlias

import asyncpg

from affix_cli.checks.findings import Finding, clock, ok, problem
from affix_server.config import Settings
from affix_server.storage.postgres.database import CONNECTIONS, describe
from affix_server.storage.postgres.migrate import migrations, missing_migrations

_CONNECT_SECONDS = 5.0
_OLDEST = 14
_TABLES = ("tasks", "task_attachments", "redis_doubts")
_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")

# In quotes, because it is generic in the stubs only.
_Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def look_at_postgres(dsn: str, settings: Settings) -> list[Finding]:
    """Look at the database that a DSN names."""
    try:
        connection = await asyncpg.connect(dsn, timeout=_CONNECT_SECONDS)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as fault:
        what = f"cannot be reached: {describe(fault)}"
        return [problem("postgres", what, "see that it runs, and that AFFIX_POSTGRES_DSN names it and its database")]
    try:
        return [
            ok("postgres", f"answers, as {await connection.fetchval('SELECT current_user')}"),
            _version(connection),
            await _encoding(connection),
            await _writable(connection),
            *await _durability(connection),
            await _connections(connection, settings),
            await _clock(connection),
            *await _schema(connection),
        ]
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as fault:
        return [problem("postgres", f"fails: {describe(fault)}", "see its log")]
    finally:
        await connection.close(timeout=_CONNECT_SECONDS)


def _version(connection: _Connection) -> Finding:
    major = connection.get_server_version().major
    if major < _OLDEST:
        return problem("postgres.version", f"is version {major}", f"use PostgreSQL {_OLDEST} or newer")
    return ok("postgres.version", f"is version {major}")


async def _encoding(connection: _Connection) -> Finding:
    encoding = await connection.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        advice = "make the database anew: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        return problem(
            "postgres.encoding", f"the database is encoded in {encoding}, which cannot hold all text", advice
        )
    return ok("postgres.encoding", "the database is encoded in UTF8")


async def _writable(connection: _Connection) -> Finding:
    if await connection.fetchval("SELECT pg_is_in_recovery()"):
        return problem("postgres.writable", "it is a standby, which takes no writes", "name the primary server")
    if await connection.fetchval("SHOW default_transaction_read_only") == "on":
        advice = "ALTER DATABASE … RESET default_transaction_read_only, or the same of the role"
        return problem("postgres.writable", "transactions are read-only here", advice)
    return ok("postgres.writable", "it takes writes")


async def _durability(connection: _Connection) -> list[Finding]:
    found = []
    if await connection.fetchval("SHOW fsync") == "off":
        found.append(problem("postgres.durability", "fsync is off: a crash may corrupt everything", "set fsync = on"))
    if await connection.fetchval("SHOW synchronous_commit") == "off":
        what = "synchronous_commit is off: a crash loses writes that have been acknowledged"
        found.append(problem("postgres.durability", what, "set synchronous_commit = on"))
    return found or [ok("postgres.durability", "what it has committed survives a crash")]


async def _connections(connection: _Connection, settings: Settings) -> Finding:
    most = int(await connection.fetchval("SHOW max_connections"))
    needed = settings.workers * CONNECTIONS
    if most < needed:
        what = f"takes {most} connections; {settings.workers} processes use up to {needed}"
        return problem("postgres.connections", what, "raise max_connections, or lower AFFIX_WORKERS")
    return ok("postgres.connections", f"takes {most} connections, of which this service uses up to {needed}")


async def _clock(connection: _Connection) -> Finding:
    asked = time.time()
    theirs = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
    return clock("postgres.clock", theirs, asked, time.time())


async def _schema(connection: _Connection) -> list[Finding]:
    try:
        missing = await missing_migrations(connection)
    except asyncpg.InsufficientPrivilegeError:
        advice = "GRANT SELECT ON affix_migrations TO the role of AFFIX_POSTGRES_DSN"
        return [problem("postgres.schema", "the list of applied migrations may not be read", advice)]
    if missing:
        return [problem("postgres.schema", f"the database lacks {', '.join(missing)}", "run `affix migrate`")]
    applied = await connection.fetchval("SELECT count(*) FROM affix_migrations")
    schema = ok("postgres.schema", "all migrations are applied")
    if applied > len(migrations()):
        what = "a newer release has migrated the database already; this one goes on working with it"
        schema = ok("postgres.schema", what)
    return [schema, await _rights(connection)]


async def _rights(connection: _Connection) -> Finding:
    lacking = [
        f"{right} on {table}"
        for table in _TABLES
        for right in _RIGHTS
        if not await connection.fetchval("SELECT has_table_privilege($1::text, $2::text)", table, right)
    ]
    if lacking:
        advice = f"GRANT {', '.join(_RIGHTS)} ON {', '.join(_TABLES)} TO the role of AFFIX_POSTGRES_DSN"
        return problem("postgres.privileges", f"the role lacks {', '.join(lacking)}", advice)
    return ok("postgres.privileges", "the role may read and write all tables")
