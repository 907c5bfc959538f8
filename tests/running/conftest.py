"""The suite's stores, for servers of this folder's own."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from tests.harness.service import Service


@pytest.fixture(scope="session")
def stores(postgres_store: EmbeddedPostgres, valkey_store: EmbeddedValkey, server: Service) -> dict[str, str]:
    """The settings that name them; the database is migrated."""
    assert server.command.running
    return {"AFFIX_POSTGRES_DSN": postgres_store.dsn, "AFFIX_REDIS_URL": valkey_store.url}


@pytest.fixture
async def dsn(postgres_store: EmbeddedPostgres) -> AsyncIterator[str]:
    """A database of the test's own, empty."""
    name = f"affix_{secrets.token_hex(4)}"
    connection = await asyncpg.connect(postgres_store.dsn)
    await connection.execute(f"CREATE DATABASE {name}")
    yield postgres_store.dsn.replace("/affix?", f"/{name}?")
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


@pytest.fixture
async def connection(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(dsn)
    yield opened
    await opened.close()
