"""`affix check` before real stores, sound and broken."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest
from redis.asyncio import Redis

from affix_cli.checks.findings import clock
from affix_cli.checks.machine import look_at_file
from affix_cli.embedded import EmbeddedValkey
from affix_server.storage.postgres.migrate import migrate
from tests.cli.commands import NOBODY, affix

FREE = {"AFFIX_GRPC_LISTEN": "127.0.0.1:0", "AFFIX_HTTP_LISTEN": "127.0.0.1:0"}


def found(**settings: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Run `affix check --json`; return its exit code and what it found, by the name of the check."""
    done = affix("check", "--json", **FREE | settings)
    assert done.stderr == ""
    said: dict[str, Any] = json.loads(done.stdout)
    assert said["ok"] == (done.returncode == 0)
    return done.returncode, {finding["check"]: finding for finding in said["checks"]}


def broken(check: str, **settings: str) -> str:
    """Return what is said of a check that must find a problem, with advice."""
    code, findings = found(**settings)
    assert code == 2
    assert findings[check]["status"] == "problem", findings[check]
    assert findings[check]["advice"]
    return findings[check]["what"]


def test_sound_stores_are_found_sound(stores: Mapping[str, str]) -> None:
    code, findings = found(**stores)
    assert code == 0
    assert [finding for finding in findings.values() if finding["status"] != "ok"] == []
    assert {"settings", "postgres.schema", "postgres.privileges", "redis.eviction", "port.grpc"} <= set(findings)


def test_it_says_so_in_plain_words(stores: Mapping[str, str]) -> None:
    done = affix("check", **{**stores, **FREE, "AFFIX_REDIS_URL": f"redis://{NOBODY}"})
    assert done.returncode == 2
    assert "PROBLEM  redis " in done.stdout
    assert "-> see that it runs, and that AFFIX_REDIS_URL names it" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("1 problems, 0 warnings, ")


def test_settings_that_cannot_be_read(stores: Mapping[str, str]) -> None:
    assert broken("settings", AFFIX_CACHE_TTL_SECONDS="59").startswith("AFFIX_CACHE_TTL_SECONDS must be at least 60")
    assert "is not" in broken("redis", AFFIX_POSTGRES_DSN=stores["AFFIX_POSTGRES_DSN"])
    assert "is not" in broken("postgres", AFFIX_REDIS_URL=stores["AFFIX_REDIS_URL"])


def test_postgres_that_is_not_there(stores: Mapping[str, str]) -> None:
    nowhere = broken("postgres", **{**stores, "AFFIX_POSTGRES_DSN": f"postgresql://affix:sesame@{NOBODY}/affix"})
    assert "cannot be reached" in nowhere
    assert "sesame" not in nowhere
    other = stores["AFFIX_POSTGRES_DSN"].replace("/affix?", "/nothing?")
    assert 'database "nothing" does not exist' in broken("postgres", **{**stores, "AFFIX_POSTGRES_DSN": other})


async def test_a_database_that_is_not_migrated(stores: Mapping[str, str], dsn: str) -> None:
    assert "lacks 0001_" in broken("postgres.schema", **{**stores, "AFFIX_POSTGRES_DSN": dsn})


async def test_a_database_that_is_not_ours_to_use(
    stores: Mapping[str, str], dsn: str, connection: asyncpg.Connection
) -> None:
    await migrate(dsn)
    await connection.execute("CREATE ROLE reader LOGIN")
    await connection.execute("GRANT SELECT ON affix_migrations, tasks, task_attachments, redis_doubts TO reader")
    try:
        theirs = {**stores, "AFFIX_POSTGRES_DSN": dsn.replace("//affix@", "//reader@")}
        lacking = broken("postgres.privileges", **theirs)
        assert "INSERT on tasks" in lacking
        assert "SELECT" not in lacking
    finally:
        await connection.execute("DROP OWNED BY reader")
        await connection.execute("DROP ROLE reader")


async def test_a_database_that_takes_no_writes_or_forgets_them(
    stores: Mapping[str, str], dsn: str, connection: asyncpg.Connection
) -> None:
    await migrate(dsn)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    theirs = {**stores, "AFFIX_POSTGRES_DSN": dsn}
    assert "read-only" in broken("postgres.writable", **theirs)
    assert "synchronous_commit" in broken("postgres.durability", **theirs)


async def test_a_database_that_cannot_hold_all_text(stores: Mapping[str, str], connection: asyncpg.Connection) -> None:
    name = f"{await connection.fetchval('SELECT current_database()')}_ascii"
    await connection.execute(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    try:
        theirs = stores["AFFIX_POSTGRES_DSN"].replace("/affix?", f"/{name}?")
        assert "SQL_ASCII" in broken("postgres.encoding", **{**stores, "AFFIX_POSTGRES_DSN": theirs})
    finally:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_more_processes_than_postgres_takes(stores: Mapping[str, str]) -> None:
    assert "processes use up to 832" in broken("postgres.connections", **stores, AFFIX_WORKERS="64")


@pytest.fixture
async def valkey(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[EmbeddedValkey, Redis]]:
    """A Valkey to be spoilt."""
    store = EmbeddedValkey(tmp_path_factory.mktemp("v"))
    await store.start()
    async with Redis.from_url(store.url, decode_responses=True) as client:
        yield store, client
    await store.stop()


async def test_a_redis_that_is_set_up_wrongly(stores: Mapping[str, str], valkey: tuple[EmbeddedValkey, Redis]) -> None:
    store, client = valkey
    theirs = {**stores, "AFFIX_REDIS_URL": store.url}
    await client.config_set("maxmemory-policy", "allkeys-lru")
    await client.config_set("notify-keyspace-events", "KEA")
    await client.config_set("appendonly", "no")
    assert "allkeys-lru" in broken("redis.eviction", **theirs)
    _, findings = found(**theirs)
    assert findings["redis.notifications"]["status"] == "warning"
    assert findings["redis.persistence"]["status"] == "warning"
    # Without PostgreSQL there is nothing else that could remember.
    assert "only store" in broken("redis.persistence", **{**theirs, "AFFIX_POSTGRES_DSN": "none"})


async def test_a_redis_that_is_full(stores: Mapping[str, str], valkey: tuple[EmbeddedValkey, Redis]) -> None:
    store, client = valkey
    await client.config_set("maxmemory", "1mb")
    theirs = {**stores, "AFFIX_REDIS_URL": store.url}
    assert "maxmemory" in broken("redis.writable", **theirs)
    assert found(**theirs)[1]["redis.memory"]["status"] == "warning"


async def test_a_redis_that_is_a_replica(stores: Mapping[str, str], valkey: tuple[EmbeddedValkey, Redis]) -> None:
    store, client = valkey
    await client.replicaof(*NOBODY.split(":"))
    assert "replica" in broken("redis.mode", **{**stores, "AFFIX_REDIS_URL": store.url})


async def test_a_redis_that_asks_for_a_password(
    stores: Mapping[str, str], valkey: tuple[EmbeddedValkey, Redis]
) -> None:
    store, client = valkey
    await client.config_set("requirepass", "sesame")
    theirs = {**stores, "AFFIX_REDIS_URL": store.url}
    assert "asks for a password" in broken("redis", **theirs)
    wrong = theirs["AFFIX_REDIS_URL"].replace("?", "?password=wrong&")
    assert "asks for a password" in broken("redis", **{**theirs, "AFFIX_REDIS_URL": wrong})
    await client.config_set("requirepass", "")


async def test_a_user_who_may_not_run_scripts(stores: Mapping[str, str], valkey: tuple[EmbeddedValkey, Redis]) -> None:
    store, client = valkey
    await client.execute_command("ACL", "SETUSER", "weak", "on", ">open", "~*", "&*", "+@all", "-@scripting")  # type: ignore[no-untyped-call]
    socket_path = unquote(urlsplit(store.url).path)
    theirs = {**stores, "AFFIX_REDIS_URL": f"unix://{socket_path}?username=weak&password=open"}
    assert "script" in broken("redis.scripts", **theirs)


def test_a_port_in_use(stores: Mapping[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert "in use" in broken("port.http", **{**stores, "AFFIX_HTTP_LISTEN": address})


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert "cannot be" in broken("data_dir", AFFIX_DATA_DIR=str(tmp_path / "file" / "data"))
    code, findings = found(AFFIX_DATA_DIR=str(tmp_path / "new"))
    assert (code, findings["data_dir"]["status"]) == (0, "ok")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("theirs", "status"),
    [(1000.0, "ok"), (999.0, "warning"), (1001.2, "warning"), (990.0, "problem"), (2e3, "problem")],
)
def test_clocks_that_do_not_agree(theirs: float, status: str) -> None:
    finding = clock("store.clock", theirs, 1000.0, 1000.1)
    assert finding.status == status
    assert ("ahead of" in finding.what) == (status != "ok" and theirs > 1000)


def test_files_that_settings_name(tmp_path: Path) -> None:
    key = tmp_path / "key"
    assert look_at_file("tls_key", key, private=True).status == "problem"
    key.write_text("")
    assert look_at_file("tls_key", key, private=True).status == "problem"
    key.write_text("secret")
    key.chmod(0o644)
    assert look_at_file("tls_key", key, private=True).status == "warning"
    assert look_at_file("tls_certificate", key, private=False).status == "ok"
    key.chmod(0o600)
    assert look_at_file("tls_key", key, private=True).status == "ok"
