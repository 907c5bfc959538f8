"""The Postgres half of attachments: group commits and reads."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

import asyncpg

from affix_server.domain import Attachment, AttachmentType, Ref
from affix_server.errors import TaskNotFoundError
from affix_server.storage.entries import Entry, IndexLine, Tombstone, Write, random_suffix
from affix_server.storage.postgres.database import Connection, Database, statement
from affix_server.storage.postgres.rows import content_bytes, content_columns, parse_entry
from affix_server.storage.revisions import Revisions

_WRITE = statement("write_attachments")
_READ = statement("read_attachments")
_TASK_EXISTS = "SELECT EXISTS (SELECT FROM tasks WHERE id = $1 AND deleted_at IS NULL)"
_INDEX = """
SELECT key, type, (extract(epoch FROM created_at) * 1000)::bigint AS created_at
FROM task_attachments WHERE task_id = $1 AND deleted_at IS NULL
"""
_INDEX_CHUNK = 1000


@dataclass(frozen=True, slots=True)
class Row:
    """What Postgres holds under a key; `entry` is None if nothing, ever (or not for ten minutes)."""

    task_exists: bool
    entry: Entry | None
    updated_by: str = ""


@dataclass(frozen=True, slots=True)
class Rows:
    """What Postgres holds under several keys, or only how large it is, if that is over the limit."""

    rows: list[Row]
    total_bytes: int


class AttachmentTable:
    """Reads and writes of `task_attachments`. Every method raises StorageUnavailableError."""

    def __init__(self, database: Database, revisions: Revisions) -> None:
        """Use a database; every revision given is higher than those seen."""
        self._database = database
        self._revisions = revisions

    async def write(self, writes: Sequence[Write]) -> list[Row]:
        """Commit creates and deletes of different keys together; the rows are in their order.

        A row without an entry means that nothing was written: the task does not
        exist, or there was nothing to delete.
        """
        async with self._database.connection() as connection:
            return await write_attachments(connection, writes, self._revisions)

    async def read(self, refs: Sequence[Ref], max_bytes: int) -> Rows:
        """Read by name, in order; contents over `max_bytes` together are not read at all."""
        task_ids, keys = [ref.task_id for ref in refs], [ref.key for ref in refs]
        records = await self._database.fetch(_READ, task_ids, keys, max_bytes)
        total = records[0]["total_bytes"] if records else 0
        if total > max_bytes:
            return Rows([], total)
        rows = [
            Row(
                record["task_exists"],
                parse_entry(ref, record) if record["found"] else None,
                record["updated_by"] or "",
            )
            for ref, record in zip(refs, records, strict=True)
        ]
        for row in rows:
            if row.entry is not None:
                self._revisions.observe(row.entry.revision)
        return Rows(rows, total)

    async def index(self, task_id: str) -> AsyncGenerator[Sequence[IndexLine]]:
        """Read all keys of a task, some at a time, as they are when iteration begins.

        Raises TaskNotFoundError.
        """
        async with self._database.transaction() as connection:
            if not await connection.fetchval(_TASK_EXISTS, task_id):
                raise TaskNotFoundError(task_id)
            chunk: list[IndexLine] = []
            async for record in connection.cursor(_INDEX, task_id, prefetch=_INDEX_CHUNK):
                chunk.append(IndexLine(record["key"], AttachmentType(record["type"]), record["created_at"]))
                if len(chunk) == _INDEX_CHUNK:
                    yield chunk
                    chunk = []
            yield chunk


async def write_attachments(
    connection: Connection | asyncpg.Connection[asyncpg.Record], writes: Sequence[Write], revisions: Revisions
) -> list[Row]:
    """Run the write statement in whatever transaction the connection is in."""
    contents = [content_columns(write.content) for write in writes]
    type_, value, content, url, mime_type, size = (list(column) for column in zip(*contents, strict=True))
    records = await connection.fetch(
        _WRITE,
        [write.ref.task_id for write in writes],
        [write.ref.key for write in writes],
        [write.content is None for write in writes],
        [random_suffix(9) for _ in writes],
        *(type_, value, content, url, mime_type, size),
        [content_bytes(write.content) for write in writes],
        [write.written_by for write in writes],
        revisions.highest,
    )
    rows = [_written(write, record) for write, record in zip(writes, records, strict=True)]
    for row in rows:
        if row.entry is not None:
            revisions.observe(row.entry.revision)
    return rows


def _written(write: Write, record: asyncpg.Record) -> Row:
    if record["id"] is None:
        return Row(record["task_exists"], None)
    if write.content is None:
        tombstone = Tombstone(write.ref, record["id"], record["updated_at"], record["revision"])
        return Row(record["task_exists"], tombstone, write.written_by)
    attachment = Attachment(
        id=record["id"],
        task_id=write.ref.task_id,
        key=write.ref.key,
        content=write.content,
        created_by=record["created_by"],
        created_at=record["created_at"],
        updated_at=record["updated_at"],
        revision=record["revision"],
    )
    return Row(record["task_exists"], attachment, write.written_by)
