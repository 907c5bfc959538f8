"""Attachments to the text of JSON-RPC results, for a JSON-RPC side in this process.

To make a message, only to read it again next door, costs more than all else that a read does. What is printed here
reads like what shim/affix_shim/results.py prints of messages: both are held to the same tests
(docs/decisions/0032-reads-are-printed-where-they-are-made.md).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from affix_server.domain import (
    Attachment,
    BinaryContent,
    JsonContent,
    MarkdownContent,
    Page,
    Summary,
    TextContent,
    UrlContent,
)
from affix_server.times import format_ms

_quote = msgspec.json.Encoder().encode


class PrintedAttachment:
    """The answer to a get."""

    __slots__ = ("_attachment",)

    def __init__(self, attachment: Attachment) -> None:
        """Print this one."""
        self._attachment = attachment

    def printed(self, *, with_revision: bool) -> bytes:
        """Return the text of the result."""
        return print_attachment(self._attachment, with_revision=with_revision)


class PrintedBatch:
    """The answer to a batch of reads; null for what may be missing, and is."""

    __slots__ = ("_found",)

    def __init__(self, found: Iterable[Attachment | None]) -> None:
        """Print these, in their order."""
        self._found = found

    def printed(self, *, with_revision: bool) -> bytes:
        """Return the text of the result."""
        return b'{"attachments":[%b]}' % _items(self._found, with_revision=with_revision)


class PrintedPage:
    """The answer to a list; `degraded` only when it stands in for one."""

    __slots__ = ("_page",)

    def __init__(self, page: Page) -> None:
        """Print this one."""
        self._page = page

    def printed(self, *, with_revision: bool) -> bytes:
        """Return the text of the result."""
        page = self._page
        items = _items(page.attachments, with_revision=with_revision)
        more, degraded = b"true" if page.has_more else b"false", b',"degraded":true' if page.degraded else b""
        return b'{"attachments":[%b],"totalCount":%d,"hasMore":%b%b}' % (items, page.total_count, more, degraded)


def _items(found: Iterable[Attachment | Summary | None], *, with_revision: bool) -> bytes:
    return b",".join([b"null" if one is None else print_attachment(one, with_revision=with_revision) for one in found])


def print_attachment(one: Attachment | Summary, *, with_revision: bool) -> bytes:
    """Return the text of an attachment, or of its summary, members in the order of the spec's examples."""
    expires = b"" if one.expires_at is None else b',"expiresAt":"%b"' % format_ms(one.expires_at).encode()
    revision = b',"revision":%d' % one.revision if with_revision else b""
    created = format_ms(one.created_at).encode()
    updated = created if one.updated_at == one.created_at else format_ms(one.updated_at).encode()
    return b'{"id":%b,"taskId":%b,"key":%b,"type":"%b",%b"createdBy":%b,"createdAt":"%b","updatedAt":"%b"%b%b}' % (
        _quote(one.id),
        _quote(one.task_id),
        _quote(one.key),
        one.type.value.encode(),
        _content(one),
        _quote(one.created_by),
        created,
        updated,
        expires,
        revision,
    )


def _content(one: Attachment | Summary) -> bytes:
    if isinstance(one, Summary):
        binary = b"" if one.mime_type is None else _binary(one.mime_type, one.size)
        return b'%b"contentBytes":%d,' % (binary, one.content_bytes)
    match one.content:
        case JsonContent(value):
            return b'"value":%b,' % value.encode()
        case MarkdownContent(text) | TextContent(text):
            return b'"content":%b,' % _quote(text)
        case UrlContent(url):
            return b'"url":%b,' % _quote(url)
        case BinaryContent(mime_type, size):
            return _binary(mime_type, size)


def _binary(mime_type: str, size: int | None) -> bytes:
    return b'%b"mimeType":%b,' % (b"" if size is None else b'"size":%d,' % size, _quote(mime_type))
