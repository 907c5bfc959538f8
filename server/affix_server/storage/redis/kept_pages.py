"""Pages of lists that have been read twice and were the same: the third time Redis says which revisions they have.

(docs/decisions/0037-contents-are-sent-once.md)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeVar

from affix_server.domain import Attachment, Query, Ref
from affix_server.storage.redis.connection import Reply
from affix_server.storage.redis.hashes import Values
from affix_server.storage.redis.kept import Kept, KeptEntries

_MOST_PAGES = 2_000

T = TypeVar("T")


class KeptPages:
    """Knows which pages are likely to be the same as before; what they hold is among the entries that are kept.

    A page that is read once costs nothing more, nor does one that changes from one time to the next.
    """

    def __init__(self, kept: KeptEntries) -> None:
        """Begin without any."""
        self._kept = kept
        # The revisions of pages that have been read whole.
        self._seen: OrderedDict[Query, tuple[int, ...]] = OrderedDict()
        # Of those that were the same once more, one of the entries that have been kept for them.
        self._settled: OrderedDict[Query, Ref] = OrderedDict()

    def is_settled(self, query: Query) -> bool:
        """Tell whether the page has been the same twice, and is likely to be among what is kept."""
        ref = self._settled.get(query)
        if ref is None or self._kept.find(ref) is not None:
            return ref is not None
        del self._settled[query]
        return False

    def recognized(self, query: Query, reply: Sequence[Reply], max_bytes: int) -> list[Kept] | None:
        """Return the entries of which page.lua has told key and revision; None if they are not all known."""
        revisions = reply[2::2]
        refs = [Ref(query.task_id, key.decode()) for key in reply[1::2]]
        known, unknown = self._kept.find_all(refs, max_bytes)
        if not unknown and [one.revision_text for one in known] == revisions:
            return known
        self._settled.pop(query, None)
        return None

    def note(self, query: Query, entries: Sequence[Attachment], replies: Sequence[Values]) -> Sequence[Attachment]:
        """Take note of a page that was read whole; return what to answer with."""
        if query in self._settled:
            return entries  # Another call has been here since this one asked.
        revisions = tuple([one.revision for one in entries])
        if self._seen.pop(query, None) != revisions:
            _put(self._seen, query, revisions)
            return entries
        kept = [self._kept.note(one, values) for one, values in zip(entries, replies, strict=True)]
        if kept and all(isinstance(one, Kept) for one in kept):
            # The one that makes room first.
            _put(self._settled, query, Ref(kept[0].task_id, kept[0].key))
        return kept


def _put(pages: OrderedDict[Query, T], query: Query, what: T) -> None:
    pages[query] = what
    if len(pages) > _MOST_PAGES:
        pages.popitem(last=False)
