"""Attachments that this process has read: Redis answers each read, but need not send again what is the same.

(docs/decisions/0037-contents-are-sent-once.md)
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Sequence
from typing import cast

from affix_server.domain import (
    Attachment,
    JsonContent,
    KeptAttachment,
    MarkdownContent,
    Ref,
    TextContent,
    UrlContent,
)
from affix_server.storage.limits import content_size
from affix_server.storage.redis import names
from affix_server.storage.redis.connection import bulk_string
from affix_server.storage.redis.hashes import READ, Values

# A revision belongs to one content of a key, but for a write that Postgres has not seen: what it finds there may show
# that another id and another time of creation are meant (design/storage.md). Such a one is not kept.
_REVISION, _PENDING = READ.index("revision"), READ.index("pending")
# As Redis reads it (RESP: https://redis.io/docs/latest/develop/reference/protocol-spec/).
_QUESTION = b"*3\r\n$4\r\nHGET\r\n$%d\r\n%b\r\n$8\r\nrevision\r\n"
# What is kept of an attachment besides its content, as measured.
_OVERHEAD_BYTES = 1_000


class Kept(KeptAttachment, frozen=True, gc=False, eq=False):
    """An attachment, and how to find out whether it is still what is there."""

    # As Redis has it, and what is asked and answered while that is the one there is.
    revision_text: bytes = b""
    question: bytes = b""
    answer: bytes = b""
    content_bytes: int = 0
    size: int = 0

    @property
    def ref(self) -> Ref:
        """The name of the attachment."""
        return Ref(self.task_id, self.key)


class KeptEntries:
    """Keeps what was read last, up to about so many bytes of memory; what was read first makes room.

    What has made room is kept again by the next read of it. To note at each read what is wanted would take longer.
    """

    def __init__(self, most_bytes: int) -> None:
        """Begin with nothing; with 0 nothing is ever kept."""
        self._most_bytes = most_bytes
        # By plain tuples, which the garbage collector need not look at again and again.
        self._kept: OrderedDict[tuple[str, str], Kept] = OrderedDict()
        self._bytes = 0
        # No content has been larger.
        self._largest = 0

    def find(self, ref: Ref) -> Kept | None:
        """Return what was kept, which may have changed since."""
        return self._kept.get(ref)

    def find_all(self, refs: Sequence[Ref], max_bytes: int) -> tuple[list[Kept], list[Ref]]:
        """Return what was kept, and of what nothing was, or only a content that is larger than `max_bytes`."""
        found = [*map(self._kept.get, refs)]
        if all(found) and self._largest <= max_bytes:
            return cast("list[Kept]", found), []
        known = [kept for kept in found if kept is not None and kept.content_bytes <= max_bytes]
        return known, [
            ref for ref, kept in zip(refs, found, strict=True) if kept is None or kept.content_bytes > max_bytes
        ]

    def find_page(self, task_id: str, keys: Sequence[str], max_bytes: int) -> list[Kept] | None:
        """Return what was kept of a task, if that is all of it, and no content larger than `max_bytes`."""
        get = self._kept.get
        found = [get((task_id, key)) for key in keys]
        if not all(found):
            return None
        known = cast("list[Kept]", found)
        return known if self._largest <= max_bytes or max(kept.content_bytes for kept in known) <= max_bytes else None

    def note(self, entry: Attachment, values: Values) -> Attachment:
        """Keep an attachment in place of what was kept of it; return what to answer with."""
        # One text for all of a task: fewer places in memory for each of a batch to be looked up in.
        place = (sys.intern(entry.task_id), entry.key)
        self.forget(place)
        content_bytes = content_size(entry)
        size = _memory(entry, content_bytes)
        revision = values[_REVISION]
        if size > self._most_bytes or revision is None or values[_PENDING] is not None:
            return entry
        name = names.entry(Ref(*place)).encode()
        question, answer = _QUESTION % (len(name), name), bulk_string(revision)
        one = Kept(
            *(entry.id, *place, entry.content, sys.intern(entry.created_by)),
            *(entry.created_at, entry.updated_at, entry.revision, entry.expires_at),
            revision_text=revision,
            question=question,
            answer=answer,
            content_bytes=content_bytes,
            size=size,
        )
        self._kept[place] = one
        self._bytes, self._largest = self._bytes + size, max(self._largest, content_bytes)
        while self._bytes > self._most_bytes:
            _, first = self._kept.popitem(last=False)
            self._bytes -= first.size
        return one

    def forget(self, ref: tuple[str, str]) -> None:
        """Keep nothing of an attachment."""
        kept = self._kept.pop(ref, None)
        if kept is not None:
            self._bytes -= kept.size


def _memory(entry: Attachment, raw_bytes: int) -> int:
    """Return about how many bytes of memory an attachment takes: as text, and as part of an answer on either wire."""
    match entry.content:
        case JsonContent(text) | MarkdownContent(text) | TextContent(text) | UrlContent(text):
            return sys.getsizeof(text) + 2 * raw_bytes + _OVERHEAD_BYTES
        case _:
            return _OVERHEAD_BYTES
