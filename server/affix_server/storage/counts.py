"""What is done with attachments, counted in this process: shown as metrics, and added up in Redis for all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client.core import Metric

from affix_server.domain import (
    ALWAYS,
    AttachmentType,
    Condition,
    Content,
    Created,
    Creation,
    Deleted,
    Deletion,
    Page,
    Query,
    Ref,
    WrittenTask,
)
from affix_server.metrics import counter
from affix_server.storage.base import Attachments, Tasks


class Counts:
    """Numbers since the process began; whoever does something adds to them, which costs no more than that."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.cache_hits = 0
        self.cache_misses = 0
        self.list_queries = 0
        self.deleted = 0
        self.created = dict.fromkeys(AttachmentType, 0)

    def totals(self) -> dict[str, int]:
        """Tell them all, by the names that they have in Redis."""
        return {
            "created": sum(self.created.values()),
            "deleted": self.deleted,
            "cache_hits": self.cache_hits,
            "cache_misses": self.cache_misses,
            "list_queries": self.list_queries,
        }

    def by_type(self) -> dict[str, int]:
        """Tell how many of each type were created."""
        return {type_.value: number for type_, number in self.created.items()}

    def metrics(self) -> Iterable[Metric]:
        """Show them (affix_server.metrics.Shown)."""
        created: dict[tuple[str, ...], float] = {(type_,): number for type_, number in self.by_type().items()}
        reads: dict[tuple[str, ...], float] = {("hit",): self.cache_hits, ("miss",): self.cache_misses}
        return (
            counter("affix_attachments_created", "Attachments stored, new or replaced", ["type"], created),
            counter("affix_attachments_deleted", "Attachments deleted by name", (), {(): self.deleted}),
            counter("affix_attachments_listed", "Pages of attachments read", (), {(): self.list_queries}),
            counter("affix_cache_reads", "Attachments read, by where they were found", ["result"], reads),
        )


class CountedAttachments:
    """Implements storage.base.Attachments by another, and counts what has succeeded."""

    def __init__(self, attachments: Attachments, counts: Counts) -> None:
        """Count what is done with `attachments`; hits and misses are counted where they are known."""
        self._attachments = attachments
        self._counts = counts
        # Nothing to count: the way of a read is no longer for it.
        self.now_ms = attachments.now_ms
        self.get = attachments.get
        self.batch_get = attachments.batch_get

    async def create(
        self,
        ref: Ref,
        content: Content,
        created_by: str,
        condition: Condition = ALWAYS,
        expires_at: int | None = None,
    ) -> Created:
        """See storage.base.Attachments."""
        created = await self._attachments.create(ref, content, created_by, condition, expires_at)
        self._counts.created[created.type] += 1
        return created

    async def batch_create(self, creations: Sequence[Creation], created_by: str) -> Sequence[Created | Exception]:
        """See storage.base.Attachments."""
        done = await self._attachments.batch_create(creations, created_by)
        for one in done:
            if isinstance(one, Created):
                self._counts.created[one.type] += 1
        return done

    async def delete(self, ref: Ref, deleted_by: str, condition: Condition = ALWAYS) -> Deleted:
        """See storage.base.Attachments."""
        deleted = await self._attachments.delete(ref, deleted_by, condition)
        self._counts.deleted += 1
        return deleted

    async def batch_delete(self, deletions: Sequence[Deletion], deleted_by: str) -> Sequence[Deleted | Exception]:
        """See storage.base.Attachments."""
        done = await self._attachments.batch_delete(deletions, deleted_by)
        self._counts.deleted += sum(isinstance(one, Deleted) for one in done)
        return done

    async def list(self, query: Query) -> Page:
        """See storage.base.Attachments."""
        page = await self._attachments.list(query)
        self._counts.list_queries += 1
        return page


class CountedTasks:
    """Implements storage.base.Tasks by another, and counts the results that are stored with them."""

    def __init__(self, tasks: Tasks, counts: Counts) -> None:
        """Count what is done with `tasks`."""
        self._tasks = tasks
        self._counts = counts
        self.create = tasks.create
        self.get = tasks.get
        self.update = tasks.update
        self.list = tasks.list
        self.delete = tasks.delete
        self.rights = tasks.rights

    async def complete(self, task_id: str, worker_id: str | None, result: str | None, completed_by: str) -> WrittenTask:
        """See storage.base.Tasks."""
        written = await self._tasks.complete(task_id, worker_id, result, completed_by)
        if result is not None:
            self._counts.created[AttachmentType.JSON] += 1
        return written
