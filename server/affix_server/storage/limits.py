"""The limit on how much content one answer may have."""

from __future__ import annotations

from affix_server.domain import Attachment, Content, JsonContent, MarkdownContent, Summary, TextContent, UrlContent
from affix_server.errors import InvalidParamsError, Violation
from affix_server.storage.entries import Entry, TooLarge

# What an attachment adds to a message beside its content, at most: names, ids, times.
_ENVELOPE_BYTES = 2048

# How much content to read of an attachment at most, where there is no budget for it: any, or only how much it is.
NO_LIMIT = 2**62
NO_CONTENTS = -1


def content_bytes(content: Content | None) -> int:
    """Return the size of a content in bytes of UTF-8, the figure that size limits are about."""
    match content:
        case JsonContent(text) | MarkdownContent(text) | TextContent(text) | UrlContent(text):
            return len(text) if text.isascii() else len(text.encode())
        case _:
            return 0


def content_size(found: Entry | Summary | TooLarge | None) -> int:
    """Return the size of what was found, whether it was sent along or not."""
    match found:
        case Attachment():
            return content_bytes(found.content)
        case TooLarge(size):
            return size
        case _:
            return 0


def answer_budget(max_message_bytes: int, count: int) -> int:
    """Return how many bytes of content so many attachments may have in one answer."""
    return max(max_message_bytes - count * _ENVELOPE_BYTES, 0)


def require_room(size: int, budget: int, field: str) -> None:
    """Raise InvalidParamsError, with the advice to lower `field`, if so many bytes do not fit in one answer."""
    if size > budget:
        raise InvalidParamsError(
            Violation(
                field,
                f"asks for {size} bytes of content, more than the {budget} that fit in one answer: lower `{field}`",
            )
        )
