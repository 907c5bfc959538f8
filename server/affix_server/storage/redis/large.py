"""Large attachments that this process has read: Redis answers each read, but need not send again what is the same.

(docs/decisions/0037-large-contents-are-sent-once.md)
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from typing import NamedTuple

from msgspec.structs import replace

from affix_server.domain import Attachment, LargeText, MarkdownContent, Ref, TextContent
from affix_server.storage.redis import names
from affix_server.storage.redis.client import Script
from affix_server.storage.redis.connection import Command
from affix_server.storage.redis.hashes import READ, Values

SAME = Script("_read", "same")
# What same.lua says of an entry that is.
IS_SAME = 1
# A smaller content is sent in less time than it takes to look whether it is the same.
LARGE_BYTES = 64 * 1024

_ID, _UPDATED, _REVISION = READ.index("id"), READ.index("updatedAt"), READ.index("revision")
# A URL is never large.
_CONTENTS = tuple((READ.index(name), name) for name in ("value", "content"))


class Kept(NamedTuple):
    """An attachment, what asks Redis whether it is still that, and about how much memory it takes."""

    entry: Attachment
    question: Command
    size: int


class LargeEntries:
    """Keeps what was read last, up to so many bytes."""

    def __init__(self, most_bytes: int) -> None:
        """Begin with nothing; with 0 nothing is ever kept."""
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Ref, Kept] = OrderedDict()
        self._bytes = 0

    def find(self, ref: Ref) -> Kept | None:
        """Return what was kept, which may have changed since."""
        kept = self._kept.get(ref)
        if kept is not None:
            self._kept.move_to_end(ref)
        return kept

    def note(self, entry: Attachment, values: Values) -> Attachment:
        """Keep an attachment, if it is large, in place of what was kept of it; return what to answer with."""
        kept = _keep(entry, values)
        self.forget(Ref(entry.task_id, entry.key))
        if kept is None or kept.size > self._most_bytes:
            return entry
        self._kept[Ref(entry.task_id, entry.key)] = kept
        self._bytes += kept.size
        while self._bytes > self._most_bytes:
            _, last = self._kept.popitem(last=False)
            self._bytes -= last.size
        return kept.entry

    def forget(self, ref: Ref) -> None:
        """Keep nothing of an attachment."""
        kept = self._kept.pop(ref, None)
        if kept is not None:
            self._bytes -= kept.size


def is_large(values: Values) -> bool:
    """Tell whether what was read has a large content."""
    value, content = (values[at] for at, _ in _CONTENTS)
    return len(value or content or b"") >= LARGE_BYTES


def _keep(entry: Attachment, values: Values) -> Kept | None:
    field, raw = next(((name, values[at]) for at, name in _CONTENTS if values[at] is not None), ("", None))
    id_, updated, revision = values[_ID], values[_UPDATED], values[_REVISION]
    if raw is None or id_ is None or updated is None or revision is None or not is_large(values):
        return None
    content = entry.content
    size = len(raw)
    if isinstance(content, MarkdownContent | TextContent):
        text = LargeText(content.content)
        content = type(content)(text)
        size += sys.getsizeof(text)
    else:
        size *= 2
    question = SAME([names.entry(Ref(entry.task_id, entry.key))], id_, revision, updated, field, len(raw))
    return Kept(replace(entry, content=content), question, size)
