"""A batch of writes is one round trip to each store, whatever its size."""

from __future__ import annotations

import asyncpg

from affix_server.domain import Creation, Deletion, Ref, TextContent
from affix_server.stores import Storage

_STATEMENTS = """
SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements WHERE query LIKE '%INSERT INTO task_attachments AS a%'
"""


async def test_a_hundred_writes_at_once_are_one_statement(
    storage: Storage, task_id: str, postgres: asyncpg.Connection
) -> None:
    before = await postgres.fetchval(_STATEMENTS)
    refs = [Ref(task_id, f"k{number}") for number in range(100)]
    await storage.attachments.batch_create([Creation(ref, TextContent("x")) for ref in refs], "a")
    assert await postgres.fetchval(_STATEMENTS) - before == 1
    await storage.attachments.batch_delete([Deletion(ref) for ref in refs], "a")
    assert await postgres.fetchval(_STATEMENTS) - before == 2
