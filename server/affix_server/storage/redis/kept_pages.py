"""Pages of lists that have been read twice and were the same: the third time Redis is asked whether they still are.

(docs/decisions/0037-contents-are-sent-once.md)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from affix_server.domain import Attachment, Query, are_all
from affix_server.storage.redis.connection import Reply
from affix_server.storage.redis.hashes import Values
from affix_server.storage.redis.kept import Kept, KeptEntries

_MOST_PAGES = 2_000

T = TypeVar("T")


class _Read(NamedTuple):
    """A page as it was read: what it held, and how much the whole list."""

    keys: tuple[str, ...]
    revisions: list[int]
    total: int


class SettledPage(NamedTuple):
    """A page that is likely to be what is there, with its entries."""

    keys: tuple[str, ...]
    entries: list[Kept]
    total: int

    @property
    def question(self) -> bytes:
        """What tells, behind same_page.lua, whether the entries are still what is there."""
        return b"".join([one.question for one in self.entries])

    @property
    def answer(self) -> bytes:
        """What Redis says to both if all is as it was."""
        return b":%d\r\n%b" % (self.total, b"".join([one.answer for one in self.entries]))

    def total_now(self, replies: Sequence[Reply]) -> int | None:
        """Return how much there is in the list, if replies that are not as expected say that the page is the same."""
        same = isinstance(replies[0], int) and replies[1:] == [one.revision_text for one in self.entries]
        return replies[0] if same else None


class KeptPages:
    """Knows which pages are likely to be the same as before; what they hold is among the entries that are kept.

    A page that is read once costs nothing more, nor does one that changes from one time to the next.
    """

    def __init__(self, kept: KeptEntries) -> None:
        """Begin without any."""
        self._kept = kept
        # The revisions of pages that have been read.
        self._seen: OrderedDict[Query, list[int]] = OrderedDict()
        # Those that were the same once more.
        self._settled: OrderedDict[Query, _Read] = OrderedDict()

    def settled(self, query: Query, max_bytes: int) -> SettledPage | None:
        """Return a page that has been the same twice, if all of it is still kept as it was."""
        read = self._settled.get(query)
        if read is None:
            return None
        found = self._kept.find_page(query.task_id, read.keys, max_bytes)
        if found is None or [one.revision for one in found] != read.revisions:
            del self._settled[query]
            return None
        return SettledPage(read.keys, found, read.total)

    def count(self, query: Query, total: int) -> None:
        """Take note of how much there is in a list by now, of which a page is the same."""
        read = self._settled.get(query)
        if read is not None:
            self._settled[query] = read._replace(total=total)

    def forget(self, query: Query) -> None:
        """Take note that a page is not what it was."""
        self._settled.pop(query, None)

    def note(
        self, query: Query, entries: Sequence[Attachment], replies: Sequence[Values], total: int
    ) -> Sequence[Attachment]:
        """Take note of a page that was read whole; return what to answer with."""
        if query in self._settled:
            return entries  # Another call has been here since this one asked.
        revisions = [one.revision for one in entries]
        if self._seen.pop(query, None) != revisions:
            _put(self._seen, query, revisions)
            return entries
        kept = [self._kept.note(one, values) for one, values in zip(entries, replies, strict=True)]
        if kept and are_all(kept, Kept):
            _put(self._settled, query, _Read(tuple([one.key for one in kept]), revisions, total))
        return kept


def _put(pages: OrderedDict[Query, T], query: Query, what: T) -> None:
    pages[query] = what
    if len(pages) > _MOST_PAGES:
        pages.popitem(last=False)
