"""The time by which attachments expire (docs/decisions/0021-what-expires-is-deleted-by-whoever-meets-it.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeGuard

from affix_server.domain import Attachment, are_all


class Clock:
    """A clock in milliseconds that never goes back: what was gone once is gone."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        """Follow a clock in microseconds."""
        self._now_us = now_us
        self._last_ms = 0

    def now_ms(self) -> int:
        """Return the time in milliseconds since the epoch."""
        self._last_ms = max(self._last_ms, self._now_us() // 1000)
        return self._last_ms

    def has_come(self, moment_ms: int | None) -> bool:
        """Tell whether a moment is past; None never comes."""
        return moment_ms is not None and moment_ms <= self.now_ms()

    def lives(self, entry: object) -> TypeGuard[Attachment]:
        """Tell whether something is an attachment: no tombstone, nor one that is still to be deleted."""
        return isinstance(entry, Attachment) and not self.has_come(entry.expires_at)

    def all_live(self, entries: Sequence[object]) -> TypeGuard[Sequence[Attachment]]:
        """Tell whether all are such attachments, of which most never expire."""
        if not are_all(entries, Attachment):
            return False
        moments = [entry.expires_at for entry in entries]
        return moments.count(None) == len(moments) or not any(map(self.has_come, moments))

    def has_expired(self, entry: object) -> TypeGuard[Attachment]:
        """Tell whether something is an attachment that is still to be deleted."""
        return isinstance(entry, Attachment) and self.has_come(entry.expires_at)
