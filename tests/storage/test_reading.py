"""Reads when Redis does not have it, or does not answer."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import asyncpg
from redis.asyncio import Redis

from affix_cli.embedded import EmbeddedValkey
from affix_server.domain import Attachment, Query, Ref, TextContent
from affix_server.stores import Storage


async def test_five_hundred_callers_on_one_cold_key_make_one_query(
    storage: Storage, task_id: str, redis: Redis, postgres: asyncpg.Connection
) -> None:
    ref = Ref(task_id, "cold")
    await storage.attachments.create(ref, TextContent("x"), "a")
    await redis.flushall()
    asked = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements WHERE query LIKE '%WHEN r.total_bytes%'"
    before = await postgres.fetchval(asked)
    found = await asyncio.gather(*(storage.attachments.get(ref) for _ in range(500)))
    assert {one.content for one in found} == {TextContent("x")}
    assert await postgres.fetchval(asked) - before == 1


async def test_scripts_that_redis_forgot_are_loaded_again(storage: Storage, task_id: str, redis: Redis) -> None:
    await redis.script_flush()
    await storage.attachments.create(Ref(task_id, "note"), TextContent("x"), "a")
    await redis.script_flush()
    assert (await storage.attachments.list(Query(task_id, limit=10))).total_count == 1


async def test_while_redis_is_frozen_postgres_answers_in_time(
    storage: Storage, task_id: str, valkey_store: EmbeddedValkey
) -> None:
    ref = Ref(task_id, "note")
    await storage.attachments.create(ref, TextContent("x"), "a")
    os.kill(valkey_store.pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        assert (await storage.attachments.get(ref)).content == TextContent("x")
        await storage.attachments.create(ref, TextContent("y"), "a")
        assert time.monotonic() - begun < 5
        (listed,) = (await storage.attachments.list(Query(task_id, limit=10))).attachments
        assert isinstance(listed, Attachment)
        assert listed.content == TextContent("y")
    finally:
        os.kill(valkey_store.pid, signal.SIGCONT)
    assert (await storage.attachments.get(ref)).content == TextContent("y")
    while not storage.trust.believed:
        await asyncio.sleep(0.05)
    assert (await storage.attachments.get(ref)).content == TextContent("y")
