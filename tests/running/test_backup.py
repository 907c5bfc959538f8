"""docs/backup.md, done: its commands, run as they stand there, bring back what was there."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from affix_cli.embedded.folders import account_for_postgres
from affix_cli.embedded.postgres import _programs
from tests.docs.pages import blocks
from tests.harness.jsonrpc_wire import JsonRpcWire
from tests.harness.samples import TEXT, create, get
from tests.harness.service import serving
from tests.harness.wire import Wire

COMMANDS = [line for block in blocks("docs/backup.md") for line in block.text.splitlines()]


async def _run(program: str, folder: Path, **variables: str) -> None:
    """Run the command of the page that begins with a program."""
    (command,) = [line for line in COMMANDS if line.startswith(f"{program} ")]
    environment = {**os.environ, **variables, "PATH": f"{_programs()}:{os.environ['PATH']}"}
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", command), cwd=folder, env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, err = await process.communicate()
    assert process.returncode == 0, err.decode()


@pytest.fixture
async def empty_valkey(folder: Path) -> AsyncIterator[EmbeddedValkey]:
    store = EmbeddedValkey(folder / f"v-{secrets.token_hex(2)}")
    await store.start()
    yield store
    await store.stop()


async def _serves_what_was_there(
    stores: Mapping[str, str], folder: Path, http: aiohttp.ClientSession, task: str, before: object
) -> None:
    async with serving(stores, folder / "restored.log") as restored:
        wire: Wire = JsonRpcWire("jsonrpc", restored.url, http)
        assert await get(wire, task, "kept") == before
        assert (await wire.call("task.list_attachments", {"taskId": task}))["totalCount"] == 1
        await create(wire, task, "new")


@pytest.fixture
async def before(grpc_wire: Wire, task: str) -> object:
    await create(grpc_wire, task, "kept", TEXT)
    return await get(grpc_wire, task, "kept")


async def test_a_dump_brings_back_what_was_there(
    stores: Mapping[str, str],
    folder: Path,
    http: aiohttp.ClientSession,
    grpc_wire: Wire,
    task: str,
    before: object,
    empty_valkey: EmbeddedValkey,
    tmp_path: Path,
) -> None:
    dsn = stores["AFFIX_POSTGRES_DSN"]
    restored = dsn.replace("/affix?", "/affix_restored?")
    await _run("pg_dump", tmp_path, AFFIX_POSTGRES_DSN=dsn)
    await create(grpc_wire, task, "after")
    await _run("createdb", tmp_path, AFFIX_POSTGRES_DSN=dsn)
    try:
        await _run("pg_restore", tmp_path, RESTORED_DSN=restored)
        theirs = {"AFFIX_POSTGRES_DSN": restored, "AFFIX_REDIS_URL": empty_valkey.url}
        await _serves_what_was_there(theirs, folder, http, task, before)
    finally:
        connection = await asyncpg.connect(dsn)
        await connection.execute("DROP DATABASE affix_restored WITH (FORCE)")
        await connection.close()


async def test_a_base_backup_brings_back_what_was_there(
    stores: Mapping[str, str],
    folder: Path,
    http: aiohttp.ClientSession,
    grpc_wire: Wire,
    task: str,
    before: object,
    empty_valkey: EmbeddedValkey,
) -> None:
    place = folder / f"b-{secrets.token_hex(2)}"
    place.mkdir()
    await _run("pg_basebackup", place, AFFIX_POSTGRES_DSN=stores["AFFIX_POSTGRES_DSN"])
    await _run("pg_verifybackup", place)
    await create(grpc_wire, task, "after")
    (place / "base" / ".s.PGSQL.5432.lock").unlink()
    (place / "base").rename(place / "postgres")
    _hand_over(place / "postgres")
    postgres = EmbeddedPostgres(place, options={"shared_preload_libraries": ""})
    await postgres.start()
    try:
        theirs = {"AFFIX_POSTGRES_DSN": postgres.dsn, "AFFIX_REDIS_URL": empty_valkey.url}
        await _serves_what_was_there(theirs, folder, http, task, before)
    finally:
        await postgres.stop()


def _hand_over(backup: Path) -> None:
    """Give it to the user that PostgreSQL runs as, if that is another."""
    account = account_for_postgres()
    if account is not None:
        for path in (backup, *backup.rglob("*")):
            shutil.chown(path, account.uid, account.gid)


def test_every_command_of_the_page_is_run_here() -> None:
    programs = {re.split(r"\s", line)[0] for line in COMMANDS if line}
    assert programs == {"pg_dump", "createdb", "pg_restore", "pg_basebackup", "pg_verifybackup"}
