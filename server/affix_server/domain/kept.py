"""Attachments that are worth more memory than others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeGuard, TypeVar

from msgspec.structs import astuple, force_setattr

from affix_server.domain.attachments import Attachment

_FIELDS = len(Attachment.__struct_fields__)

T = TypeVar("T")


def are_all(found: Sequence[object], type_: type[T]) -> TypeGuard[Sequence[T]]:
    """Tell whether all are of a type: they are of one or two as a rule, and to look at each by itself takes longer."""
    return all(issubclass(one, type_) for one in set(map(type, found)))


class KeptAttachment(Attachment, frozen=True, gc=False, eq=False):
    """An attachment that is kept for whoever reads it next, and with it what answers looked like.

    It equals the attachment that it is.
    """

    text: bytes | None = None
    message: bytes | None = None

    def printed_by(self, printed: Callable[[Attachment], bytes]) -> bytes:
        """Return it as JSON, its `text`, which `printed` makes of it the first time."""
        text = self.text
        if text is None:
            # A copy, since encoders return what has room for more.
            text = bytes(memoryview(printed(self)))
            force_setattr(self, "text", text)
        return text

    def encoded_by(self, encoded: Callable[[Attachment], bytes]) -> bytes:
        """Return the answer to a get of it, its `message`, which `encoded` makes of it the first time."""
        message = self.message
        if message is None:
            message = encoded(self)
            force_setattr(self, "message", message)
        return message

    def __eq__(self, other: object) -> bool:
        """Compare what they are, not what answers looked like."""
        if not isinstance(other, Attachment):
            return NotImplemented
        return astuple(self)[:_FIELDS] == astuple(other)[:_FIELDS]

    def __hash__(self) -> int:
        """Hash like the attachment that it is."""
        return hash(Attachment(*astuple(self)[:_FIELDS]))
