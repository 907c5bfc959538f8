"""Deletes what has expired (docs/decisions/0021-what-expires-is-deleted-by-whoever-meets-it.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Protocol

import structlog
from prometheus_client import CollectorRegistry, Counter

from affix_server.domain import Ref
from affix_server.errors import AffixError

_EVERY_SECONDS = 0.5
_AT_ONCE = 100

_log = structlog.get_logger()


class Expiring(Protocol):
    """Attachments some of which have expired."""

    def expired(self, most: int) -> Awaitable[Sequence[Ref]]:
        """Return some of what has expired and is still to be deleted, the oldest first."""
        ...

    def end_all(self, refs: Sequence[Ref]) -> Awaitable[int]:
        """Delete what has expired of these, each with its event; returns how many there were."""
        ...


class Expiry:
    """Looks twice a second for what has expired. Safe to run in all processes at once."""

    def __init__(self, attachments: Expiring, registry: CollectorRegistry) -> None:
        """Delete what has expired of some attachments; `run` does it again and again."""
        self._attachments = attachments
        self._deleted = Counter(
            "affix_expired_total", "Attachments deleted because they had expired", registry=registry
        )

    async def run(self) -> None:
        """Delete until cancelled; a store that fails is tried again the next time."""
        while True:
            try:
                await self.sweep()
            except AffixError:
                pass  # whoever failed has been counted by its circuit, which tells of it
            except Exception:  # noqa: BLE001 - logged; what is not deleted now is deleted later, and shown to nobody
                _log.exception("expiry_failed")
            await asyncio.sleep(_EVERY_SECONDS)

    async def sweep(self) -> int:
        """Delete all that has expired, and return how many attachments that were."""
        count = 0
        while refs := await self._attachments.expired(_AT_ONCE):
            ended = await self._attachments.end_all(refs)
            count += ended
            if not ended:
                break  # others are at it, or a store is not
        if count:
            self._deleted.inc(count)
            _log.info("expired", attachments=count)
        return count
