"""The primary is killed and the standby promoted: the service goes on, and the writes of the gap arrive."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
from prometheus_client import CollectorRegistry

from affix_cli.embedded import EmbeddedValkey
from affix_server.config import Settings
from affix_server.domain import NewTask, Ref, TextContent
from affix_server.storage.postgres.migrate import migrate
from affix_server.stores import Storage, open_storage
from tests.resilience.standby import Replicated
from tests.resilience.world import GONE, eventually, outcome, read

_TASK = "t-failover"
SETTLED, OVERWRITTEN, NEW, DELETED = (Ref(_TASK, key) for key in ("settled", "overwritten", "new", "deleted"))


async def _put(storage: Storage, ref: Ref, text: str) -> bool:
    return (await storage.attachments.create(ref, TextContent(text), "a")).pending


async def test_the_writes_of_the_gap_arrive() -> None:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="affix-")))
        postgres, valkey = Replicated(folder), EmbeddedValkey(folder)
        await asyncio.gather(valkey.start(), stack.enter_async_context(postgres.running()))
        stack.push_async_callback(valkey.stop)
        await migrate(postgres.primary.dsn)
        await postgres.follow()
        settings = Settings(
            postgres_dsn=postgres.dsn, redis_url=valkey.url, operation_timeout_seconds=2, circuit_open_seconds=0.3
        )
        storage, other = [await open_storage(settings, CollectorRegistry(), stack) for _ in range(2)]
        await storage.tasks.create(NewTask(_TASK, "a test", 50, "{}"), "a")
        for ref in (SETTLED, OVERWRITTEN, DELETED):
            assert not await _put(storage, ref, "before")

        postgres.primary.kill()
        assert await _put(storage, OVERWRITTEN, "in the gap")
        assert await _put(other, NEW, "in the gap")
        assert (await other.attachments.delete(DELETED, "b")).pending
        assert [await read(storage, ref) for ref in (SETTLED, NEW, DELETED)] == ["before", "in the gap", GONE]
        await postgres.promote()

        async def settled() -> bool:
            return not await _put(storage, SETTLED, "after") and not await _put(other, SETTLED, "after")

        await eventually(settled, 10)
        expected = ["after", "in the gap", "in the gap", GONE]
        assert [await read(other, ref) for ref in (SETTLED, OVERWRITTEN, NEW, DELETED)] == expected
        sql = await asyncpg.connect(postgres.standby.dsn)
        stack.callback(sql.terminate)

        async def arrived() -> bool:
            rows = await sql.fetch("SELECT key, content FROM task_attachments WHERE task_id = $1", _TASK)
            texts = {row["key"]: row["content"] for row in rows}
            return [texts.get(ref.key, "") for ref in (SETTLED, OVERWRITTEN, NEW, DELETED)] == [*expected[:3], None]

        await eventually(arrived, 5)
        assert await outcome(storage.tasks.get(_TASK)) == "done"
