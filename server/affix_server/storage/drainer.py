"""Takes pending writes to Postgres (design/storage.md, "Postgres away")."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from affix_server.domain import Ref
from affix_server.errors import AffixError
from affix_server.storage.entries import Pending
from affix_server.storage.postgres.attachments import AttachmentTable
from affix_server.storage.redis.pending import PendingWrites

_log = structlog.get_logger()


class Drainer:
    """Commits pending writes, and publishes them as settled. Safe to run anywhere, any number of times."""

    def __init__(self, pending: PendingWrites, attachments: AttachmentTable) -> None:
        """Work between the two stores."""
        self._pending = pending
        self._attachments = attachments

    async def drain(self, pending: Mapping[Ref, Pending], *, probing: bool = False) -> None:
        """Commit pending writes; of a task that has been deleted meanwhile, drop them.

        One that Postgres refuses stays pending, and is logged.
        """
        if not pending:
            return
        try:
            await self._drain(pending, probing=probing)
        except AffixError:
            raise
        except Exception:  # noqa: BLE001 - Postgres refuses one of them: the others are not to wait for it
            if len(pending) == 1:
                _log.exception("drain_refused")
                return
            for ref, one in pending.items():
                await self.drain({ref: one}, probing=probing)

    async def _drain(self, pending: Mapping[Ref, Pending], *, probing: bool) -> None:
        rows = await self._attachments.drain(list(pending.values()), probing=probing)
        await self._pending.settle([row.entry for row in rows if row.task_exists and row.entry is not None])
        for ref, row in zip(pending, rows, strict=True):
            if not row.task_exists:
                await self._pending.discard(ref)

    async def drain_key(self, ref: Ref) -> None:
        """Commit the pending write of one key, if it has one."""
        (pending,) = await self._pending.get((ref,))
        if pending is not None:
            await self.drain({ref: pending})
