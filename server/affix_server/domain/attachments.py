"""Attachments: what they are, and what may be asked of them.

What a read makes a hundred of, or a write one, is a msgspec.Struct: to make one takes a tenth of the time that a frozen
dataclass takes (docs/decisions/0033-what-a-read-may-cost.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, NamedTuple

from msgspec import Struct


class AttachmentType(StrEnum):
    """The five types, spelled as in JSON answers, in Redis and in Postgres."""

    JSON = "json"
    MARKDOWN = "markdown"
    TEXT = "text"
    URL = "url"
    BINARY = "binary"


class JsonContent(Struct, frozen=True, gc=False):
    """A JSON value as its text, never re-printed."""

    value: str
    type: ClassVar = AttachmentType.JSON


class MarkdownContent(Struct, frozen=True, gc=False):
    """A markdown document."""

    content: str
    type: ClassVar = AttachmentType.MARKDOWN


class TextContent(Struct, frozen=True, gc=False):
    """Plain text."""

    content: str
    type: ClassVar = AttachmentType.TEXT


class UrlContent(Struct, frozen=True, gc=False):
    """A link."""

    url: str
    type: ClassVar = AttachmentType.URL


class BinaryContent(Struct, frozen=True, gc=False):
    """A reference to binary data kept elsewhere; `size` in bytes, if known."""

    mime_type: str
    size: int | None
    type: ClassVar = AttachmentType.BINARY


Content = JsonContent | MarkdownContent | TextContent | UrlContent | BinaryContent


class Ref(NamedTuple):
    """The name of an attachment."""

    task_id: str
    key: str


class Attachment(Struct, frozen=True, gc=False):
    """An attachment as it is stored."""

    id: str
    task_id: str
    key: str
    content: Content
    created_by: str
    created_at: int
    updated_at: int
    revision: int
    expires_at: int | None = None

    @property
    def type(self) -> AttachmentType:
        """The type of its content."""
        return self.content.type

    def is_gone(self, now_ms: int) -> bool:
        """Tell whether it has expired by a time."""
        return self.expires_at is not None and self.expires_at <= now_ms


class Summary(Struct, frozen=True, gc=False):
    """Everything of an attachment but its content, and how many bytes of UTF-8 that has."""

    id: str
    task_id: str
    key: str
    type: AttachmentType
    content_bytes: int
    mime_type: str | None
    size: int | None
    created_by: str
    created_at: int
    updated_at: int
    revision: int
    expires_at: int | None = None

    def is_gone(self, now_ms: int) -> bool:
        """Tell whether it has expired by a time."""
        return self.expires_at is not None and self.expires_at <= now_ms


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold under a key for a write to happen: the revision that is there, or that nothing is."""

    revision: int | None = None
    absent: bool = False

    def __bool__(self) -> bool:
        """Whether anything must hold at all."""
        return self.absent or self.revision is not None

    def holds(self, current: int | None) -> bool:
        """Tell whether it holds where the attachment has the revision `current`, None for no attachment."""
        if self.absent:
            return current is None
        return self.revision in {None, current}


ALWAYS = Condition()


class Creation(NamedTuple):
    """What to store under a name, if a condition holds, and when it is to be gone, in ms; None for never."""

    ref: Ref
    content: Content
    condition: Condition = ALWAYS
    expires_at: int | None = None


class Deletion(NamedTuple):
    """What to delete, if a condition holds."""

    ref: Ref
    condition: Condition = ALWAYS


class Created(Struct, frozen=True, gc=False):
    """The identity of what a create stored; `pending` if only Redis has it yet."""

    id: str
    task_id: str
    key: str
    type: AttachmentType
    created_at: int
    revision: int
    pending: bool = False
    expires_at: int | None = None


class Deleted(Struct, frozen=True, gc=False):
    """What a delete removed; `pending` if only Redis knows of it yet."""

    id: str
    task_id: str
    key: str
    deleted_at: int
    revision: int
    pending: bool = False


class Query(Struct, frozen=True):
    """Which page of which list of a task's attachments; ordered by (created_at, key).

    `summaries` asks for everything but the contents.
    """

    task_id: str
    type: AttachmentType | None = None
    key_prefix: str = ""
    limit: int = 50
    offset: int = 0
    descending: bool = False
    summaries: bool = False


class Page(Struct, frozen=True):
    """A page of a task's attachments, or of their summaries, in the order asked for.

    `degraded` marks the empty page that stands in when no store can answer.
    """

    attachments: tuple[Attachment | Summary, ...]
    total_count: int
    has_more: bool
    degraded: bool = False
