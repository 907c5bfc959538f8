"""The embedded stores: data survive, crashes and leftovers are dealt with, nobody else gets in."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest
from redis.asyncio import Redis

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey, embedded_stores
from affix_cli.embedded.child import Child
from affix_cli.failures import Failure
from tests.cli.commands import stores_in


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def add_row(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS rows (); INSERT INTO rows DEFAULT VALUES")
        count: int = await connection.fetchval("SELECT count(*) FROM rows")
    finally:
        await connection.close()
    return count


async def value_of(dsn: str, expression: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        value = await connection.fetchval(f"SELECT {expression}")
    finally:
        await connection.close()
    return value


async def increment(url: str) -> int:
    async with Redis.from_url(url) as redis:
        count: int = await redis.incr("count")
    return count


@asynccontextmanager
async def running(*stores: EmbeddedPostgres | EmbeddedValkey) -> AsyncIterator[None]:
    try:
        for store in stores:
            await store.start()
        yield
    finally:
        for store in stores:
            await store.stop()


async def test_data_survive_a_restart(data_dir: Path) -> None:
    counts = []
    for _ in range(2):
        async with embedded_stores(data_dir) as stores:
            counts.append((await add_row(stores.postgres_dsn), await increment(stores.redis_url)))
        assert stores_in(data_dir) == []
    assert counts[1] == (counts[0][0] + 1, counts[0][1] + 1)


async def test_data_survive_a_crash(data_dir: Path) -> None:
    postgres, valkey = EmbeddedPostgres(data_dir), EmbeddedValkey(data_dir)
    async with running(postgres, valkey):
        before = await add_row(postgres.dsn), await increment(valkey.url)
        pids = postgres.pid, valkey.pid
        postgres.kill()
        valkey.kill()
        await postgres.start()
        await valkey.start()
        assert (postgres.pid, valkey.pid) != pids
        assert (await add_row(postgres.dsn), await increment(valkey.url)) == (before[0] + 1, before[1] + 1)


async def test_settings_beyond_ours_reach_the_stores(data_dir: Path) -> None:
    postgres = EmbeddedPostgres(data_dir, options={"max_connections": "7"})
    valkey = EmbeddedValkey(data_dir, config={"maxmemory": "10mb", "enable-debug-command": "yes"})
    async with running(postgres, valkey):
        assert await value_of(postgres.dsn, "current_setting('max_connections')") == "7"
        async with Redis.from_url(valkey.url, decode_responses=True) as redis:
            assert await redis.config_get("maxmemory") == {"maxmemory": str(10 * 1024 * 1024)}
            assert await redis.config_get("enable-debug-command") == {"enable-debug-command": "yes"}


async def test_only_their_user_reaches_them(data_dir: Path) -> None:
    async with embedded_stores(data_dir) as stores:
        assert await value_of(stores.postgres_dsn, "current_setting('listen_addresses')") == ""
        async with Redis.from_url(stores.redis_url, decode_responses=True) as redis:
            assert (await redis.config_get("port"))["port"] == "0"
    for folder in ("postgres", "valkey"):
        assert mode(data_dir / folder) == 0o700


@pytest.mark.parametrize("name", ["x" * 90, 'it\'s a "folder" 100% ü'])
async def test_any_folder_will_do(new_dir: Path, name: str) -> None:
    async with embedded_stores(new_dir / name) as stores:
        assert await add_row(stores.postgres_dsn) == 1
        assert await increment(stores.redis_url) == 1
        sockets = Path(unquote(urlsplit(stores.redis_url).path)).parent
        assert mode(sockets) == 0o700
    assert sockets.exists() == sockets.is_relative_to(new_dir)


async def test_a_socket_folder_made_by_somebody_else_is_not_used(data_dir: Path) -> None:
    valkey = EmbeddedValkey(data_dir / ("x" * 90))
    async with running(valkey):
        sockets = Path(urlsplit(valkey.url).path).parent
    assert sockets.parent == Path(tempfile.gettempdir())
    sockets.mkdir(mode=0o777)
    sockets.chmod(0o777)
    try:
        with pytest.raises(Failure, match="not a private folder of this user"):
            await valkey.start()
    finally:
        sockets.rmdir()


async def test_stores_of_a_killed_run_are_stopped_first(data_dir: Path) -> None:
    killed = EmbeddedPostgres(data_dir), EmbeddedValkey(data_dir)
    for store in killed:
        await store.start()
    orphans = stores_in(data_dir)
    assert {store.pid for store in killed} <= set(orphans)
    async with running(EmbeddedPostgres(data_dir), EmbeddedValkey(data_dir)):
        assert not set(orphans) & set(stores_in(data_dir))
    for store in killed:
        store.kill()


async def test_a_stale_pid_file_hurts_nobody(data_dir: Path) -> None:
    postgres, valkey = EmbeddedPostgres(data_dir), EmbeddedValkey(data_dir)
    async with running(postgres, valkey):
        pass
    with subprocess.Popen(["sleep", "60"]) as innocent:  # noqa: ASYNC220 - it returns at once
        (data_dir / "postgres/postmaster.pid").write_text(f"{innocent.pid}\n{data_dir / 'postgres'}\n")
        (data_dir / "valkey/valkey.pid").write_text(f"{innocent.pid}\n")
        async with running(postgres, valkey):
            assert await add_row(postgres.dsn)
        assert innocent.poll() is None
        innocent.kill()


async def test_an_interrupted_creation_is_begun_again(new_dir: Path) -> None:
    half_made = new_dir / "postgres.new"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("18\n")
    postgres = EmbeddedPostgres(new_dir)
    async with running(postgres):
        assert await value_of(postgres.dsn, "current_setting('server_encoding')") == "UTF8"
        ordered = "string_agg(t, '' ORDER BY t) FROM unnest(array['é', 'z', '\U0001f600', 'Z', 'ﬀ', 'a']) t"
        assert await value_of(postgres.dsn, ordered) == "Zazéﬀ\U0001f600", "not in code point order"


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (lambda folder: EmbeddedPostgres(folder, options={"shared_buffers": "many"}), "shared_buffers"),
        (lambda folder: EmbeddedValkey(folder, config={"maxmemory": "many"}), "argument must be a memory value"),
    ],
)
async def test_a_store_that_does_not_start_says_why(data_dir: Path, broken: type[EmbeddedPostgres], why: str) -> None:
    store = broken(data_dir)
    with pytest.raises(Failure, match=why):
        await store.start()
    with pytest.raises(RuntimeError):
        _ = store.pid


async def test_parent_folders_are_opened_no_further_than_needed(new_dir: Path) -> None:
    assert mode(new_dir.parent) == 0o700
    async with running(EmbeddedPostgres(new_dir)):
        pass
    # PostgreSQL needs another user only where we are root.
    assert mode(new_dir.parent) == (0o701 if os.geteuid() == 0 else 0o700)


async def test_a_process_that_ignores_its_signals_is_killed(data_dir: Path) -> None:
    child = Child("sleep", data_dir.with_name("log"))
    child.spawn(["sleep", "60"], cwd=data_dir.parent, account=None, env=os.environ)
    os.kill(child.pid, signal.SIGSTOP)
    await child.stop([(signal.SIGTERM, 0.1)])
    with pytest.raises(RuntimeError):
        _ = child.pid
