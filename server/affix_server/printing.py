"""Attachments, and what a create says, to the text of JSON-RPC results, for a JSON-RPC side in this process.

To make a message, only to read it again next door, costs more than all else that a read does. What is printed here
reads like what shim/affix_shim/results.py prints of messages: both are held to the same tests
(docs/decisions/0032-answers-are-printed-where-they-are-made.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.json import Encoder

from affix_server.domain import (
    Attachment,
    AttachmentType,
    Created,
    JsonContent,
    KeptAttachment,
    MarkdownContent,
    Page,
    Summary,
    TextContent,
    UrlContent,
    are_all,
)
from affix_server.times import format_ms

_encode = Encoder().encode


class _Line(Struct, rename="camel", gc=False):
    """An attachment as JSON has it, members in the order of the spec's examples; what it does not have is unset."""

    id: str
    task_id: str
    key: str
    type: AttachmentType
    value: Raw | UnsetType
    content: str | UnsetType
    url: str | UnsetType
    size: int | UnsetType
    mime_type: str | UnsetType
    content_bytes: int | UnsetType
    created_by: str
    created_at: str
    updated_at: str
    expires_at: str | UnsetType
    revision: int | UnsetType


class _Stored(Struct, rename="camel", gc=False):
    """What is told of what has been stored."""

    id: str
    task_id: str
    key: str
    type: AttachmentType
    created_at: str
    expires_at: str | UnsetType
    revision: int | UnsetType
    durability: Literal["pending"] | UnsetType


class _Rest(Struct, rename="camel", gc=False):
    """What is told of a page beside its attachments."""

    total_count: int
    has_more: bool
    degraded: bool | UnsetType


class PrintedCreated:
    """The answer to a create; `durability` only where it is not committed."""

    __slots__ = ("_created",)

    def __init__(self, created: Created) -> None:
        """Print this one."""
        self._created = created

    def printed(self, *, with_revision: bool) -> bytes:
        """Return the text of the result."""
        one = self._created
        return _encode(
            _Stored(
                one.id,
                one.task_id,
                one.key,
                one.type,
                format_ms(one.created_at),
                UNSET if one.expires_at is None else format_ms(one.expires_at),
                one.revision if with_revision else UNSET,
                "pending" if one.pending else UNSET,
            )
        )


class PrintedAttachment:
    """The answer to a get."""

    __slots__ = ("_attachment",)

    def __init__(self, attachment: Attachment) -> None:
        """Print this one."""
        self._attachment = attachment

    def printed(self, *, with_revision: bool) -> bytes:
        """Return the text of the result."""
        return _text(self._attachment, with_revision=with_revision)


class PrintedBatch:
    """The answer to a batch of reads, of one at least; null for what may be missing, and is."""

    __slots__ = ("_found",)

    def __init__(self, found: Sequence[Attachment | None]) -> None:
        """Print these, in their order."""
        self._found = found

    def printed(self, *, with_revision: bool) -> bytes:
        """Return the text of the result."""
        texts = _texts(self._found, with_revision=with_revision)
        # Around the first and the last, so that all are copied once.
        texts[0] = b'{"attachments":[' + texts[0]
        texts[-1] += b"]}"
        return b",".join(texts)


class PrintedPage:
    """The answer to a list; `degraded` only when it stands in for one."""

    __slots__ = ("_page",)

    def __init__(self, page: Page) -> None:
        """Print this one."""
        self._page = page

    def printed(self, *, with_revision: bool) -> bytes:
        """Return the text of the result."""
        page = self._page
        rest = _encode(_Rest(page.total_count, page.has_more, degraded=page.degraded or UNSET))[1:]
        if page.attachments and isinstance(page.attachments[0], KeptAttachment):
            attachments = b",".join(_texts(page.attachments, with_revision=with_revision))
        else:
            attachments = _encode([_line(one, with_revision=with_revision) for one in page.attachments])[1:-1]
        return b'{"attachments":[%b],%b' % (attachments, rest)


def _texts(found: Sequence[Attachment | Summary | None], *, with_revision: bool) -> list[bytes]:
    if not with_revision and are_all(found, KeptAttachment):
        # Most have been printed before, and one call less for each is a tenth of what there is to do for it.
        return [one.text or one.printed_by(_without_revision) for one in found]
    return [_text(one, with_revision=with_revision) for one in found]


def _text(attachment: Attachment | Summary | None, *, with_revision: bool) -> bytes:
    """Return an attachment as JSON: one that is kept, as it was printed before."""
    if attachment is None:
        return b"null"
    if not isinstance(attachment, KeptAttachment):
        return _encode(_line(attachment, with_revision=with_revision))
    text = attachment.printed_by(_without_revision)
    # It is the last member.
    return b'%b,"revision":%d}' % (text[:-1], attachment.revision) if with_revision else text


def _without_revision(attachment: Attachment) -> bytes:
    return _encode(_line(attachment, with_revision=False))


def _line(one: Attachment | Summary, *, with_revision: bool) -> _Line:
    created = format_ms(one.created_at)
    updated = created if one.updated_at == one.created_at else format_ms(one.updated_at)
    expires = UNSET if one.expires_at is None else format_ms(one.expires_at)
    revision = one.revision if with_revision else UNSET
    value: Raw | UnsetType = UNSET
    text: str | UnsetType = UNSET
    url: str | UnsetType = UNSET
    mime_type: str | UnsetType = UNSET
    size: int | UnsetType = UNSET
    count: int | UnsetType = UNSET
    if isinstance(one, Attachment):
        content = one.content
        type_ = content.type
        if isinstance(content, JsonContent):
            value = Raw(content.value)
        elif isinstance(content, (MarkdownContent, TextContent)):
            text = content.content
        elif isinstance(content, UrlContent):
            url = content.url
        else:
            mime_type, size = content.mime_type, UNSET if content.size is None else content.size
    else:
        type_, count = one.type, one.content_bytes
        if one.mime_type is not None:
            mime_type, size = one.mime_type, UNSET if one.size is None else one.size
    return _Line(
        one.id,
        one.task_id,
        one.key,
        type_,
        value,
        text,
        url,
        size,
        mime_type,
        count,
        one.created_by,
        created,
        updated,
        expires,
        revision,
    )
