"""The database brought up to date beside servers that use it (docs/upgrading.md)."""

from __future__ import annotations

import asyncio
import re

import asyncpg
import pytest

from affix_server.errors import StartError
from affix_server.storage.postgres import migrate as migrating
from affix_server.storage.postgres.migrate import ONE_BY_ONE, migrate, migrations

# Of which nothing was released: what comes after it must be fit for tables that are large and in use.
BASE = "0004_previous_revisions"


async def test_several_at_once_apply_each_migration_once(dsn: str) -> None:
    applied = await asyncio.gather(*(migrate(dsn) for _ in range(4)))
    assert sorted(len(names) for names in applied) == [0, 0, 0, len(migrations())]
    assert await migrate(dsn) == []


async def test_a_table_in_use_is_waited_for_and_kept_from_nobody(
    dsn: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(dsn)
    monkeypatch.setattr(migrating, "_PAUSE_SECONDS", 0.05)
    adding = {"9999_new": "ALTER TABLE tasks ADD COLUMN new text"}
    monkeypatch.setattr(migrating, "migrations", lambda: adding)
    other = await asyncpg.connect(dsn)
    reading = connection.transaction()
    await reading.start()
    await connection.fetch("SELECT FROM tasks")
    migration = asyncio.create_task(migrate(dsn))
    waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'tasks'::regclass AND NOT granted"
    while not await other.fetchval(waiting):
        await asyncio.sleep(0.01)
    # Behind a lock that is waited for everyone waits: but only for as long as a server does.
    assert await other.fetch("SELECT FROM tasks", timeout=2) == []
    assert not migration.done()
    await reading.rollback()
    assert await migration == ["9999_new"]
    await other.close()


async def test_a_table_that_stays_locked_is_said(
    dsn: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(dsn)
    monkeypatch.setattr(migrating, "migrations", lambda: {"9999_new": "ALTER TABLE tasks ADD COLUMN new text"})
    monkeypatch.setattr(migrating, "_ATTEMPTS", 1)
    async with connection.transaction():
        await connection.fetch("SELECT FROM tasks")
        with pytest.raises(StartError, match="keeps a table locked"):
            await migrate(dsn)


async def test_one_that_was_cut_short_is_finished_by_the_next(dsn: str, connection: asyncpg.Connection) -> None:
    await migrate(dsn)
    await connection.execute("DELETE FROM affix_migrations WHERE name = '0005_tasks'")
    # What a build that was cut short leaves.
    await connection.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'tasks_by_status_update'::regclass"
    )
    assert await migrate(dsn) == ["0005_tasks"]
    assert await connection.fetchval("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0


async def test_an_index_is_built_while_rows_are_written(
    dsn: str, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that has begun and not ended keeps the building waiting, and others write meanwhile."""
    await migrate(dsn)
    text = f"{ONE_BY_ONE}CREATE INDEX CONCURRENTLY IF NOT EXISTS tasks_new ON tasks (text);\n"
    monkeypatch.setattr(migrating, "migrations", lambda: {"9999_new": text})
    writer = await asyncpg.connect(dsn)
    async with connection.transaction():
        await connection.execute("UPDATE tasks SET text = text")
        migration = asyncio.create_task(migrate(dsn))
        while not await writer.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.01)
        await writer.execute("UPDATE tasks SET text = text", timeout=2)
        assert not migration.done()
    assert await migration == ["9999_new"]
    await writer.close()


@pytest.mark.parametrize("name", [name for name in migrations() if name > BASE])
def test_a_migration_is_fit_for_large_tables_and_for_the_release_before(name: str) -> None:
    text = re.sub(r"--.*", "", migrations()[name])
    made = set(re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", text))
    for table in re.findall(r"CREATE (?:UNIQUE )?INDEX (?!CONCURRENTLY)[^;]*? ON (\w+)", text):
        assert table in made, f"an index of {table} must be built CONCURRENTLY, with {ONE_BY_ONE!r} first"
    # What a release before reads or writes must stay as it is: expand first, contract a release later.
    assert not re.search(r"DROP (?:TABLE|COLUMN)|RENAME|ALTER COLUMN \w+ (?:SET NOT NULL|TYPE)", text)
    for column in re.findall(r"ADD COLUMN (?:IF NOT EXISTS )?(\w+ [^,;]*)", text):
        assert "NOT NULL" not in column or "DEFAULT" in column, column
