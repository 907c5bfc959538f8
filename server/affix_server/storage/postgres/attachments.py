"""The Postgres half of attachments: group commits and reads."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
from msgspec import Struct

from affix_server.domain import Attachment, AttachmentType, Page, Query, Ref, Summary
from affix_server.errors import StorageUnavailableError, TaskNotFoundError
from affix_server.storage.entries import Entry, IndexLine, Pending, Tombstone, Write
from affix_server.storage.events import Change, attachment_event
from affix_server.storage.limits import NO_CONTENTS, NO_LIMIT, require_room
from affix_server.storage.postgres.database import Connection, Database, statement
from affix_server.storage.postgres.rows import drain_columns, parse_entry, parse_summary, write_columns
from affix_server.storage.revisions import Revisions

_WRITE = statement("write_attachments")
_READ = statement("read_attachments")
_TASK_EXISTS = "SELECT EXISTS (SELECT FROM tasks WHERE id = $1 AND deleted_at IS NULL)"
_INDEX = """
SELECT key, type, (extract(epoch FROM created_at) * 1000)::bigint AS created_at, revision,
       (extract(epoch FROM expires_at) * 1000)::bigint AS expires_at
FROM task_attachments WHERE task_id = $1 AND key > $2
ORDER BY key LIMIT $3
"""
_INDEX_CHUNK = 1000
_LIST = statement("list_attachments")
_DRAIN = statement("drain_attachments")
_SINCE = statement("attachments_since")
_SINCE_CHUNK = 200
_EXPIRED = """
SELECT task_id, key FROM task_attachments
WHERE expires_at <= clock_timestamp() AND deleted_at IS NULL
ORDER BY expires_at LIMIT $1
"""
_PURGE = """
DELETE FROM task_attachments WHERE deleted_at < now() - make_interval(secs => $1) RETURNING 1
"""


class Row(Struct, frozen=True, gc=False):
    """What Postgres holds under a key; `entry` is None if nothing, ever (or not for ten minutes).

    `expired`: nothing was written, because what is there has expired and is to be ended first.
    """

    task_exists: bool
    entry: Entry | None
    updated_by: str = ""
    previous_revision: int = 0
    overwrites: bool = False
    expired: bool = False

    @property
    def has_event(self) -> bool:
        """Whether there is anything to tell; what was deleted with its task, that one's event tells of."""
        return self.entry is not None and self.previous_revision != self.entry.revision

    @property
    def change(self) -> Change | None:
        """What tells of it, if anything does."""
        if self.entry is None or not self.has_event:
            return None
        return attachment_event(
            self.entry, self.updated_by, overwrites=self.overwrites, previous_revision=self.previous_revision
        )


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """What Postgres holds under a key, but for the content."""

    task_exists: bool
    entry: Summary | Tombstone | None


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
        exist, there was nothing to delete, or a condition does not hold. After StorageUnavailableError the
        commit may or may not have happened, and for a while still may; after
        CircuitOpenError it has not.
        """

        def work(connection: Connection) -> Awaitable[list[Row]]:
            # Only for a statement that is sent: each fence may be a step above the one before.
            fence = self._revisions.fence(self._database.now_us, self._database.timeout)
            return write_attachments(connection, writes, self._revisions, fence)

        return await self._database.commit(work, len(writes))

    async def drain(self, pending: Sequence[Pending], *, probing: bool = False) -> list[Row]:
        """Commit writes that were accepted while Postgres was away; the rows are as they are afterwards.

        Of what is there and what is drained, the higher revision stays. Of a
        task that has been deleted meanwhile, nothing is written. `probing` asks
        whatever the circuit says.
        """
        refs = [one.ref for one in pending]

        def work(connection: Connection) -> Awaitable[Any]:
            return connection.fetch(_DRAIN, *drain_columns(pending))

        await self._database.run(work, probing=probing)
        return (await self.read(refs, NO_LIMIT, probing=probing)).rows

    async def read(self, refs: Sequence[Ref], max_bytes: int, *, probing: bool = False) -> Rows:
        """Read by name, in order; contents over `max_bytes` together are not read at all."""
        task_ids, keys = [ref.task_id for ref in refs], [ref.key for ref in refs]
        records = await self._database.run(
            lambda connection: connection.fetch(_READ, task_ids, keys, max_bytes), probing=probing
        )
        total = records[0]["total_bytes"] if records else 0
        if total > max_bytes:
            return Rows([], total)
        rows = [
            Row(
                record["task_exists"],
                parse_entry(ref, record) if record["found"] else None,
                record["updated_by"] or "",
                record["previous_revision"] or 0,
                bool(record["overwrites"]),
            )
            for ref, record in zip(refs, records, strict=True)
        ]
        for row in rows:
            if row.entry is not None:
                self._revisions.observe(row.entry.revision)
        return Rows(rows, total)

    async def summaries(self, refs: Sequence[Ref]) -> list[SummaryRow]:
        """Read by name, in order, without the contents."""
        task_ids, keys = [ref.task_id for ref in refs], [ref.key for ref in refs]
        records = await self._database.fetch(_READ, task_ids, keys, NO_CONTENTS)
        return [
            SummaryRow(record["task_exists"], parse_summary(ref, record) if record["found"] else None)
            for ref, record in zip(refs, records, strict=True)
        ]

    async def page(self, query: Query, max_bytes: int) -> Page:
        """Read a page as storage.base.Attachments.list promises it. Raises TaskNotFoundError, InvalidParamsError."""
        type_ = query.type.value if query.type is not None else None
        most = NO_CONTENTS if query.summaries else max_bytes
        sql = _LIST.replace("/* direction */", "DESC" if query.descending else "ASC")
        now_ms = self._database.clock.now_ms()
        args = (query.task_id, type_, query.limit, query.offset, most, query.key_prefix, now_ms)
        records = await self._database.fetch(sql, *args)
        if not records[0]["task_exists"]:
            raise TaskNotFoundError(query.task_id)
        found = [record for record in records if record["id"] is not None]
        if found and not query.summaries:
            require_room(int(found[0]["total_bytes"]), max_bytes, "limit")
        parse = parse_summary if query.summaries else parse_entry
        entries = [parse(Ref(query.task_id, record["key"]), record) for record in found]
        attachments = tuple(entry for entry in entries if not isinstance(entry, Tombstone))
        total = records[0]["total"]
        return Page(attachments, total, has_more=query.offset + len(attachments) < total)

    async def index(self, task_id: str) -> AsyncGenerator[Sequence[IndexLine]]:
        """Read all keys of a task, deleted ones too, some at a time; each part is as it is when it is read.

        Raises TaskNotFoundError.
        """
        (exists,) = await self._database.fetch(_TASK_EXISTS, task_id)
        if not exists["exists"]:
            raise TaskNotFoundError(task_id)
        after = ""
        while records := await self._database.fetch(_INDEX, task_id, after, _INDEX_CHUNK):
            yield [_index_line(record) for record in records]
            after = records[-1]["key"]

    async def since(self, revision: int) -> AsyncGenerator[Sequence[tuple[Ref, Row]]]:
        """Read what was written or deleted after a revision, in its order, some at a time."""
        while records := await self._database.fetch(_SINCE, revision, _SINCE_CHUNK):
            yield [
                (
                    Ref(record["task_id"], record["key"]),
                    Row(
                        task_exists=True,
                        entry=parse_entry(Ref(record["task_id"], record["key"]), record),
                        updated_by=record["updated_by"],
                        previous_revision=record["previous_revision"],
                        overwrites=record["overwrites"],
                    ),
                )
                for record in records
            ]
            revision = records[-1]["revision"]

    async def expired(self, most: int) -> list[Ref]:
        """Return some of what has expired and is still to be deleted, the oldest first."""
        return [Ref(*record) for record in await self._database.fetch(_EXPIRED, most)]

    async def purge(self, older_than_seconds: float) -> int:
        """Remove tombstones of a certain age for good; returns how many."""
        records = await self._database.fetch(_PURGE, older_than_seconds)
        return len(records)


async def write_attachments(
    connection: Connection, writes: Sequence[Write], revisions: Revisions, fence: int
) -> list[Row]:
    """Run the write statement in whatever transaction the connection is in.

    Raises StorageUnavailableError if it came too late to have an effect.
    """
    records = await connection.fetch(_WRITE, *write_columns(writes, revisions.highest, fence))
    if any(record["too_late"] for record in records):
        raise StorageUnavailableError("Database answered too late")
    rows = [_written(write, record) for write, record in zip(writes, records, strict=True)]
    for row in rows:
        if row.entry is not None:
            revisions.observe(row.entry.revision)
    return rows


def _index_line(record: asyncpg.Record) -> IndexLine:
    type_ = AttachmentType(record["type"]) if record["type"] is not None else None
    return IndexLine(record["key"], type_, record["created_at"], record["revision"], record["expires_at"])


def _written(write: Write, record: asyncpg.Record) -> Row:
    if record["id"] is None:
        return Row(record["task_exists"], None, expired=record["expired"])
    return Row(
        record["task_exists"],
        _written_entry(write, record),
        write.written_by,
        record["previous_revision"],
        record["overwrites"],
    )


def _written_entry(write: Write, record: asyncpg.Record) -> Entry:
    if write.content is None:
        return Tombstone(write.ref, record["id"], record["updated_at"], record["revision"])
    return Attachment(
        id=record["id"],
        task_id=write.ref.task_id,
        key=write.ref.key,
        content=write.content,
        created_by=record["created_by"],
        created_at=record["created_at"],
        updated_at=record["updated_at"],
        revision=record["revision"],
        expires_at=write.expires_at,
    )
