"""Parameters of the methods that are called most, decoded in one step.

What is not taken here at once (it may be wrong, or given twice, or just rare) is left to requests.py, which says what
is wrong. Of what is taken, requests.py would have made the same request (tests/shim/test_typed.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final, Literal, Protocol, TypeVar

from google.protobuf.message import Message
from msgspec import UNSET, DecodeError, Raw, Struct, UnsetType, field
from msgspec.json import Decoder

from affix.v1 import attachments_pb2 as attachments
from affix_shim.requests import ORDERS, TYPES, VIEWS

# Larger parameters are not looked through.
_SMALL_BYTES: Final = 64 * 1024
# Numbers of so many digits fit the types of the wire.
_FEW_DIGITS: Final = 9
# `"url":0,` is the shortest member of a creation that could be given again without being refused for its type.
_SHORTEST_REPEAT: Final = 8
_REVISION_ASKED: Final = len(',"withRevision":true')
_QUOTE: Final = ord('"')


class Typed(Protocol):
    """Parameters that have been taken."""

    @property
    def with_revision(self) -> bool:
        """Whether the caller wants revisions."""
        ...

    @property
    def reads_like_request(self) -> bool:
        """Whether a service in this process can take it in place of the request."""
        ...

    def message(self) -> Message:
        """Make the request."""
        ...


class _Ref(Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    task_id: str
    key: str


class GetAttachment(_Ref, rename="camel", forbid_unknown_fields=True, gc=False):
    """Of task.get_attachment."""

    reads_like_request: ClassVar[bool] = True
    with_revision: bool = False

    def message(self) -> attachments.GetAttachmentRequest:
        """See Typed."""
        return attachments.GetAttachmentRequest(task_id=self.task_id, key=self.key)


class BatchGetAttachments(Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """Of task.get_attachments_batch."""

    reads_like_request: ClassVar[bool] = True
    requests: list[_Ref]
    allow_missing: bool = False
    with_revision: bool = False

    def message(self) -> attachments.BatchGetAttachmentsRequest:
        """See Typed."""
        request = attachments.BatchGetAttachmentsRequest(allow_missing=self.allow_missing)
        for one in self.requests:
            request.requests.add(task_id=one.task_id, key=one.key)
        return request


class ListAttachments(Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """Of task.list_attachments."""

    reads_like_request: ClassVar[bool] = False
    task_id: str
    type: Literal["json", "markdown", "text", "url", "binary"] | UnsetType = UNSET
    limit: Raw = Raw()
    offset: Raw = Raw()
    key_prefix: str = ""
    view: Literal["full", "metadata"] | UnsetType = UNSET
    order: Literal["asc", "desc"] | UnsetType = UNSET
    with_revision: bool = False

    def message(self) -> attachments.ListAttachmentsRequest:
        """See Typed."""
        return attachments.ListAttachmentsRequest(
            task_id=self.task_id,
            type=attachments.ATTACHMENT_TYPE_UNSPECIFIED if self.type is UNSET else TYPES[self.type],
            limit=int(bytes(self.limit)) if len(self.limit) else None,
            offset=int(bytes(self.offset)) if len(self.offset) else None,
            key_prefix=self.key_prefix,
            view=attachments.ATTACHMENT_VIEW_UNSPECIFIED if self.view is UNSET else VIEWS[self.view],
            order=attachments.SORT_ORDER_UNSPECIFIED if self.order is UNSET else ORDERS[self.order],
        )


class _Json(Struct, gc=False):
    value: str


class _Text(Struct, gc=False):
    content: str


class _Url(Struct, gc=False):
    url: str


class CreateAttachment(Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """Of task.create_attachment, without conditions and without an end."""

    reads_like_request: ClassVar[bool] = True
    if_absent: ClassVar[bool] = False
    task_id: str
    key: str
    type: Literal["json", "markdown", "text", "url"]
    value: Raw = Raw()
    content: Raw = Raw()
    link: Raw = field(default=Raw(), name="url")
    with_revision: bool = False

    @property
    def json(self) -> _Json:
        """The JSON value."""
        return _Json(str(self.value, "utf-8"))

    @property
    def text(self) -> _Text:
        """The text."""
        return _Text(_string.decode(self.content))

    @property
    def markdown(self) -> _Text:
        """The document."""
        return self.text

    @property
    def url(self) -> _Url:
        """The link."""
        return _Url(_string.decode(self.link))

    def WhichOneof(self, group: str) -> str | None:  # noqa: N802 - protobuf's
        """Tell which member of a group is there: what it ends by is not."""
        return self.type if group == "content" else None

    def HasField(self, _name: str) -> bool:  # noqa: N802
        """Tell that there is nothing else."""
        return False

    def message(self) -> attachments.CreateAttachmentRequest:
        """See Typed."""
        request = attachments.CreateAttachmentRequest(task_id=self.task_id, key=self.key)
        match self.type:
            case "json":
                request.json.value = self.json.value
            case "markdown":
                request.markdown.content = self.markdown.content
            case "text":
                request.text.content = self.text.content
            case "url":
                request.url.url = self.url.url
        return request


T = TypeVar("T", bound=Struct)

_string: Final = Decoder(str)


def _reader(type_: type[T], has_repeats: Callable[[T, Raw], bool]) -> Callable[[Raw], T | None]:
    """Make what decodes parameters, or gives None where it cannot be sure of them."""
    decoder = Decoder(type_)

    def read(text: Raw) -> T | None:
        try:
            params = decoder.decode(text)
        except (DecodeError, RecursionError):
            return None
        return None if has_repeats(params, text) else params

    return read


def _strings(text: Raw) -> int:
    """Count the strings in a text, names of members included; none where that would take reading it."""
    written = bytes(text)
    return 0 if len(written) > _SMALL_BYTES or b"\\" in written else written.count(b'"') // 2


# A member given twice, or with the value that it has if it is not given, is a string more than there are here.


def _get_has_repeats(params: GetAttachment, text: Raw) -> bool:
    return _strings(text) != 4 + params.with_revision


def _batch_get_has_repeats(params: BatchGetAttachments, text: Raw) -> bool:
    return _strings(text) != 4 * len(params.requests) + 1 + params.allow_missing + params.with_revision


def _list_has_repeats(params: ListAttachments, text: Raw) -> bool:
    words = (params.type is not UNSET) + (params.view is not UNSET) + (params.order is not UNSET)
    numbers = [bytes(number) for number in (params.limit, params.offset) if len(number)]
    if any(len(number) > _FEW_DIGITS or not number.isdigit() for number in numbers):
        return True
    strings = 2 * (1 + words + (params.key_prefix != "")) + len(numbers) + params.with_revision
    return _strings(text) != strings


def _frame(type_: str, name: str) -> int:
    return len(f'{{"taskId":"","key":"","type":"{type_}","{name}":}}')


# Where a creation of a type has its content, and how much there is around that and its names.
_CONTENTS: Final = {
    "json": ("value", _frame("json", "value")),
    "markdown": ("content", _frame("markdown", "content")),
    "text": ("content", _frame("text", "content")),
    "url": ("link", _frame("url", "url")),
}


def _create_has_repeats(params: CreateAttachment, text: Raw) -> bool:
    """Tell also whether the content is not what the type needs."""
    member, frame = _CONTENTS[params.type]
    content: Raw = getattr(params, member)
    size = len(params.value) + len(params.content) + len(params.link)
    if not len(content) or len(content) != size or (params.type != "json" and memoryview(content)[0] != _QUOTE):
        return True
    names = params.task_id + params.key
    known = frame + size + (len(names) if names.isascii() else len(names.encode()))
    known += params.with_revision * _REVISION_ASKED
    # What is left are blanks, escapes, or a member given again.
    return len(text) - known >= _SHORTEST_REPEAT


read_get: Final = _reader(GetAttachment, _get_has_repeats)
read_batch_get: Final = _reader(BatchGetAttachments, _batch_get_has_repeats)
read_list: Final = _reader(ListAttachments, _list_has_repeats)
read_create: Final = _reader(CreateAttachment, _create_has_repeats)
