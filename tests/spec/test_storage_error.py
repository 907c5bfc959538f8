"""The one documented error that needs a failing store: a frozen PostgreSQL and a cold Redis."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import psutil
import pytest
from redis.asyncio import Redis

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from tests.harness.jsonrpc_wire import JsonRpcWire
from tests.harness.samples import create
from tests.harness.service import migrate, serving
from tests.spec.pages import TASK, agrees, block

# The upper bound of any call when AFFIX_OPERATION_TIMEOUT_SECONDS does not say otherwise.
TIMEOUT_SECONDS = 5.0


@pytest.fixture
async def stores(folder: Path) -> AsyncIterator[tuple[EmbeddedPostgres, EmbeddedValkey]]:
    """Two stores of this test alone, to be ill-treated."""
    postgres, valkey = EmbeddedPostgres(folder / "own"), EmbeddedValkey(folder / "own")
    await postgres.start()
    await valkey.start()
    yield postgres, valkey
    await valkey.stop()
    await postgres.stop()


async def test_list_with_an_unreachable_database_fails_as_documented(
    stores: tuple[EmbeddedPostgres, EmbeddedValkey], folder: Path, http: aiohttp.ClientSession
) -> None:
    postgres, valkey = stores
    settings = {
        "AFFIX_POSTGRES_DSN": postgres.dsn,
        "AFFIX_REDIS_URL": valkey.url,
    }
    await migrate(settings, folder / "own-migrate.log")
    async with serving(settings, folder / "own-serve.log") as service, Redis.from_url(valkey.url) as redis:
        wire = JsonRpcWire("jsonrpc", service.url, http)
        await wire.call("task.create", {"id": TASK, "text": "Speed up the queries"})
        await create(wire, TASK, "analysis")
        with _frozen(postgres.pid):
            await redis.flushall()
            began = time.monotonic()
            answer = json.loads(await wire.post(block("list_attachments", "Example Request (All Attachments)").text))
            took = time.monotonic() - began
        agrees(block("list_attachments", "Error Response").value, answer)
        assert took < TIMEOUT_SECONDS + 0.5


@contextmanager
def _frozen(pid: int) -> Iterator[None]:
    """Stop a process and all below it with SIGSTOP, and let them go on afterwards."""
    main = psutil.Process(pid)
    stopped = [main, *main.children(recursive=True)]
    for process in stopped:
        process.suspend()
    try:
        yield
    finally:
        for process in stopped:
            process.resume()
