"""A batch of writes is one round trip to each store, whatever its size."""

from __future__ import annotations

import asyncio

import asyncpg

from affix_server.domain import Ref, TextContent
from affix_server.stores import Storage

_STATEMENTS = """
SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements WHERE query LIKE '%INSERT INTO task_attachments AS a%'
"""


async def test_a_hundred_writes_at_once_are_one_statement(
    storage: Storage, task_id: str, postgres: asyncpg.Connection
) -> None:
    before = await postgres.fetchval(_STATEMENTS)
    refs = [Ref(task_id, f"k{number}") for number in range(100)]
    await asyncio.gather(*(storage.attachments.create(ref, TextContent("x"), "a") for ref in refs))
    assert await postgres.fetchval(_STATEMENTS) - before == 1
    await asyncio.gather(*(storage.attachments.delete(ref, "a") for ref in refs))
    assert await postgres.fetchval(_STATEMENTS) - before == 2
