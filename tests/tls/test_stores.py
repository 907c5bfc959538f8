"""TLS to the stores: their certificates are verified, and ours is shown where it is asked for."""

from __future__ import annotations

import secrets
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
import grpc
import pytest
from redis.asyncio import Redis

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from tests.harness.grpc_wire import GrpcWire
from tests.harness.service import migrate, serving
from tests.tls.authority import Authority
from tests.tls.terminator import terminating
from tests.tls.test_start import line


def socket_of(valkey: EmbeddedValkey) -> Path:
    return Path(urlsplit(valkey.url).path)


async def test_redis_over_tls(
    folder: Path, stores: dict[str, str], authority: Authority, valkey_store: EmbeddedValkey, redis: Redis
) -> None:
    clients = Authority(folder)
    own = clients.issue("affix.example")
    async with terminating(socket_of(valkey_store), authority.issue(), clients) as port:
        files = f"ssl_ca_certs={authority.certificate}&ssl_certfile={own.certificate}&ssl_keyfile={own.key}"
        settings = stores | {"AFFIX_REDIS_URL": f"rediss://127.0.0.1:{port}/0?{files}"}
        async with serving(settings, folder / "rediss.log") as service:
            async with grpc.aio.insecure_channel(service.grpc_address) as channel:
                wire, instance = GrpcWire(channel), f"i-{secrets.token_hex(8)}"
                task = (await wire.call("task.create", {"text": "over TLS"}))["id"]
                attachment = {"taskId": task, "key": "k", "type": "text", "content": "c"}
                await wire.call("task.create_attachment", attachment)
                await wire.call("task.delete_attachment", {"taskId": task, "key": "k"}, instance=instance)
            assert await redis.hget(f"cb:task:{task}", "text") == "over TLS"
            # Rate limits have connections of their own.
            assert [key async for key in redis.scan_iter(f"cb:limits*{instance}*")]
            assert "rate_limits_per_process" not in service.command.output


@pytest.mark.parametrize("wrong", ["the CA", "the name", "no certificate of ours"])
async def test_a_redis_that_is_not_the_one_meant_is_not_used(
    folder: Path,
    stores: dict[str, str],
    authority: Authority,
    stranger: Authority,
    valkey_store: EmbeddedValkey,
    wrong: str,
) -> None:
    pair = authority.issue("redis.example" if wrong == "the name" else "127.0.0.1")
    clients = authority if wrong == "no certificate of ours" else None
    trusted = stranger if wrong == "the CA" else authority
    async with terminating(socket_of(valkey_store), pair, clients) as port:
        settings = stores | {"AFFIX_REDIS_URL": f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={trusted.certificate}"}
        said = await line(folder, settings)
        assert said == "affix: cannot reach Redis (AFFIX_REDIS_URL): Cache connection failed"


def dsn(port: int, ca: Authority, **more: Path) -> str:
    options = "&".join(f"{name}={quote(str(path))}" for name, path in {"sslrootcert": ca.certificate, **more}.items())
    return f"postgresql://affix@127.0.0.1:{port}/affix?sslmode=verify-full&{options}"


def postgres_socket(store: EmbeddedPostgres) -> Path:
    ((folder,), (port,)) = (parse_qs(urlsplit(store.dsn).query)[name] for name in ("host", "port"))
    return Path(folder) / f".s.PGSQL.{port}"


async def test_postgres_over_verified_tls(
    folder: Path, stores: dict[str, str], authority: Authority, postgres_store: EmbeddedPostgres
) -> None:
    clients = Authority(folder)
    own = clients.issue("affix.example")
    async with terminating(postgres_socket(postgres_store), authority.issue(), clients, asked_for=True) as port:
        settings = stores | {"AFFIX_POSTGRES_DSN": dsn(port, authority, sslcert=own.certificate, sslkey=own.key)}
        await migrate(settings, folder / "migrate-tls.log")
        async with serving(settings, folder / "postgres-tls.log") as service:
            async with grpc.aio.insecure_channel(service.grpc_address) as channel:
                created = await GrpcWire(channel).call("task.create", {"text": "over TLS"})
            connection = await asyncpg.connect(postgres_store.dsn)
            try:
                assert await connection.fetchval("SELECT text FROM tasks WHERE id = $1", created["id"]) == "over TLS"
            finally:
                await connection.close()


@pytest.mark.parametrize("wrong", ["the CA", "the name"])
async def test_a_postgres_that_is_not_the_one_meant_is_not_used(
    folder: Path,
    stores: dict[str, str],
    authority: Authority,
    stranger: Authority,
    postgres_store: EmbeddedPostgres,
    wrong: str,
) -> None:
    pair = authority.issue("postgres.example" if wrong == "the name" else "127.0.0.1")
    trusted = stranger if wrong == "the CA" else authority
    async with terminating(postgres_socket(postgres_store), pair, asked_for=True) as port:
        said = await line(folder, stores | {"AFFIX_POSTGRES_DSN": dsn(port, trusted)})
        assert said.startswith("affix: cannot reach PostgreSQL (AFFIX_POSTGRES_DSN): ")
        assert "certificate verify failed" in said
