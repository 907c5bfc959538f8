"""A server whose every round trip to Redis and every statement to PostgreSQL is counted where it arrives."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import asyncpg
import grpc
import pytest

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from tests.harness.grpc_wire import OPTIONS, GrpcWire
from tests.harness.service import Service, migrate, serving
from tests.work.counting import RoundTrips

# How asyncpg leaves a connection clean for the next who takes it from the pool.
_RESET = ("SELECT pg_advisory_unlock_all()", "CLOSE ALL", "UNLISTEN *", "RESET ALL")
_STATEMENTS = """
SELECT query, calls FROM pg_stat_statements JOIN pg_database ON pg_database.oid = dbid
WHERE datname = current_database() AND query <> ALL ($1) AND query NOT LIKE '%pg_stat_statements%'
"""


@dataclass(frozen=True)
class Counted:
    """A server on stores that count; the database is its own."""

    wire: GrpcWire
    service: Service
    trips: RoundTrips
    database: asyncpg.Connection

    async def start(self) -> None:
        """Count from here."""
        self.trips.noted.clear()
        await self.database.execute("SELECT pg_stat_statements_reset()")

    def round_trips(self, task: str) -> int:
        """Return how many there were about a task."""
        return len(self.trips.about(task))

    async def statements(self, at_least: int) -> list[int]:
        """Return how often each statement ran that ran so often: what a server does by itself is rarer."""
        rows = await self.database.fetch(_STATEMENTS, _RESET)
        return [row["calls"] for row in rows if row["calls"] >= at_least]


@pytest.fixture(scope="session")
async def counted(
    folder: Path, postgres_store: EmbeddedPostgres, valkey_store: EmbeddedValkey
) -> AsyncIterator[Counted]:
    name = f"work_{secrets.token_hex(4)}"
    first = await asyncpg.connect(postgres_store.dsn)
    await first.execute(f"CREATE DATABASE {name}")
    await first.close()
    dsn = postgres_store.dsn.replace("/affix?", f"/{name}?")
    database = await asyncpg.connect(dsn)
    await database.execute("CREATE EXTENSION pg_stat_statements")
    async with RoundTrips(Path(unquote(urlsplit(valkey_store.url).path))).running() as trips:
        settings = {"AFFIX_POSTGRES_DSN": dsn, "AFFIX_REDIS_URL": f"redis://127.0.0.1:{trips.port}/1"}
        await migrate(settings, folder / "work-migrate.log")
        async with (
            serving(settings, folder / "work-serve.log") as service,
            grpc.aio.insecure_channel(service.grpc_address, options=OPTIONS) as channel,
        ):
            yield Counted(GrpcWire(channel), service, trips, database)
    await database.close()


@pytest.fixture
async def counted_task(counted: Counted) -> str:
    """A task registered for this test alone."""
    created = await counted.wire.call("task.create", {"text": "a test", "id": f"t-{secrets.token_hex(8)}"})
    task_id: str = created["id"]
    return task_id


@pytest.fixture
def refs(counted_task: str) -> Callable[[int], list[dict[str, str]]]:
    """Name so many attachments of the task."""
    return lambda count: [{"taskId": counted_task, "key": f"k{number:03}"} for number in range(count)]
