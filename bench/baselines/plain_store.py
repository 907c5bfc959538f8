"""The storage of `plain`: PostgreSQL decides, Redis answers; each call by itself."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

_TTL_SECONDS = 3600
_STREAM_LENGTH = 100_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS plain_tasks (id text PRIMARY KEY, text text NOT NULL);
CREATE TABLE IF NOT EXISTS plain_attachments (
    task_id text NOT NULL REFERENCES plain_tasks (id), key text NOT NULL, id text NOT NULL, type text NOT NULL,
    value json, content text, created_by text NOT NULL,
    created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL,
    PRIMARY KEY (task_id, key)
);
CREATE INDEX IF NOT EXISTS plain_attachments_listed ON plain_attachments (task_id, created_at, key);
"""
_UPSERT = """
INSERT INTO plain_attachments (task_id, key, id, type, value, content, created_by, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)
ON CONFLICT (task_id, key) DO UPDATE SET
    type = excluded.type, value = excluded.value, content = excluded.content, updated_at = excluded.updated_at
RETURNING id, created_by, created_at
"""
_ONE = "SELECT * FROM plain_attachments WHERE task_id = $1 AND key = $2"
_ALL = "SELECT key, created_at FROM plain_attachments WHERE task_id = $1"
_MARK = ""  # the member that says that an index is complete

Fields = dict[str, str]
Ref = tuple[str, str]


class NotFoundError(Exception):
    """There is no such task or attachment."""


class Store:
    """Attachments in both stores."""

    def __init__(self, pool: asyncpg.Pool, redis: Redis) -> None:
        """Use connections that others open and close."""
        self._pool = pool
        self._redis = redis

    async def prepare(self) -> None:
        """Make the tables."""
        await self._pool.execute(_SCHEMA)

    async def create_task(self, task_id: str, text: str) -> None:
        """Register a task whose index is complete, since it is empty."""
        await self._pool.execute("INSERT INTO plain_tasks VALUES ($1, $2) ON CONFLICT DO NOTHING", task_id, text)
        await self._redis.zadd(_index(task_id), {_MARK: "-inf"})

    async def create(self, task_id: str, key: str, type_: str, content: str) -> Fields:
        """Upsert into PostgreSQL, then show it in Redis and tell of it."""
        value, text = (content, None) if type_ == "json" else (None, content)
        new_id = f"ta-{time.time_ns() // 1_000_000}-{secrets.token_hex(5)[:9]}"
        now = datetime.now(UTC)
        try:
            row = await self._pool.fetchrow(_UPSERT, task_id, key, new_id, type_, value, text, "plain", now)
        except asyncpg.ForeignKeyViolationError:
            row = None
        if row is None:
            raise NotFoundError(f"Task {task_id} not found")
        stored = {"id": row["id"], "taskId": task_id, "key": key, "type": type_}
        times = {"createdAt": _iso(row["created_at"]), "updatedAt": _iso(now)}
        entry = stored | {"value" if type_ == "json" else "content": content, "createdBy": row["created_by"]} | times
        told = {"taskId": task_id, "key": key, "type": type_, "attachmentId": row["id"], "instanceId": "plain"}
        event = msgspec.json.encode({"type": "task.attachment_created", "payload": told}).decode()
        async with self._redis.pipeline(transaction=True) as pipeline:
            _put(pipeline, entry)
            pipeline.zadd(_index(task_id), {key: row["created_at"].timestamp() * 1000})
            pipeline.publish("plain.attachment_created", event)
            pipeline.xadd("plain:stream", {"data": event}, maxlen=_STREAM_LENGTH, approximate=True)
            await pipeline.execute()
        return stored | {"createdAt": times["createdAt"]}

    async def get(self, task_id: str, key: str) -> object:
        """Read one, from PostgreSQL if Redis does not have it."""
        fields: Any = await self._redis.hgetall(_entry(task_id, key))
        return _answer(fields or await self._fill(task_id, key))

    async def page(self, task_id: str, limit: int, offset: int) -> object:
        """Read a page: the index and its size in one round trip, the entries in another."""
        name = _index(task_id)
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.zscore(name, _MARK)
            pipeline.zrange(name, offset + 1, offset + limit)
            pipeline.zcard(name)
            complete, keys, count = await pipeline.execute()
        if complete is None:
            await self._rebuild(task_id)
            return await self.page(task_id, limit, offset)
        found = await self._read([(task_id, key) for key in keys])
        return {"attachments": found, "totalCount": count - 1, "hasMore": offset + len(keys) < count - 1}

    async def batch(self, refs: Sequence[Ref]) -> object:
        """Read several in one round trip."""
        return {"attachments": await self._read(refs)}

    async def _read(self, refs: Sequence[Ref]) -> list[object]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for task_id, key in refs:
                pipeline.hgetall(_entry(task_id, key))
            entries: list[Fields] = await pipeline.execute()
        return [_answer(one or await self._fill(*ref)) for ref, one in zip(refs, entries, strict=True)]

    async def _fill(self, task_id: str, key: str) -> Fields:
        row = await self._pool.fetchrow(_ONE, task_id, key)
        if row is None:
            raise NotFoundError(f"Attachment with key '{key}' not found for task {task_id}")
        member = "value" if row["type"] == "json" else "content"
        entry = {"id": row["id"], "taskId": task_id, "key": key, "type": row["type"], member: row[member]}
        entry |= {"createdBy": row["created_by"]}
        entry |= {"createdAt": _iso(row["created_at"]), "updatedAt": _iso(row["updated_at"])}
        async with self._redis.pipeline(transaction=True) as pipeline:
            _put(pipeline, entry)
            await pipeline.execute()
        return entry

    async def _rebuild(self, task_id: str) -> None:
        if not await self._pool.fetchval("SELECT true FROM plain_tasks WHERE id = $1", task_id):
            raise NotFoundError(f"Task {task_id} not found")
        rows = await self._pool.fetch(_ALL, task_id)
        scores: dict[str, Any] = {row["key"]: row["created_at"].timestamp() * 1000 for row in rows}
        await self._redis.zadd(_index(task_id), {**scores, _MARK: "-inf"})


def _put(pipeline: Pipeline, entry: Fields) -> None:
    name = _entry(entry["taskId"], entry["key"])
    pipeline.delete(name)
    pipeline.hset(name, mapping=dict[Any, Any](entry))
    pipeline.expire(name, _TTL_SECONDS)


def _answer(entry: Fields) -> object:
    if entry["type"] != "json":
        return entry
    return {**entry, "value": msgspec.Raw(entry["value"].encode())}


def _entry(task_id: str, key: str) -> str:
    return f"plain:{task_id}:attachment:{key}"


def _index(task_id: str) -> str:
    return f"plain:{task_id}:attachments"


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
