"""What a server prints for its own process reads like what the shim prints of messages."""

# ruff: noqa: FBT001 - hypothesis gives booleans by name

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.json import Encoder

from affix_server import codec
from affix_server.domain import (
    Attachment,
    AttachmentType,
    BinaryContent,
    Content,
    Created,
    JsonContent,
    MarkdownContent,
    Page,
    Ref,
    Summary,
    TextContent,
    UrlContent,
)
from affix_server.printing import PrintedAttachment, PrintedBatch, PrintedCreated, PrintedPage
from affix_server.services.answers import Messages
from affix_shim import results
from affix_shim.results import Options

_encode = Encoder().encode
_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
_names = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=20)
_moments = st.integers(0, 253_402_300_799_999)
_sizes = st.none() | st.integers(1, 2**40)
_contents: st.SearchStrategy[Content] = st.one_of(
    st.builds(JsonContent, st.sampled_from(["null", "1e2", '{"a": [1.0, "é\\u0000"]}', "-0.0"])),
    st.builds(MarkdownContent, _texts),
    st.builds(TextContent, _texts),
    st.builds(UrlContent, _texts.filter(bool)),
    st.builds(BinaryContent, _texts.filter(bool), _sizes),
)
_common = {
    "id": _names,
    "task_id": _names,
    "key": _texts.filter(bool),
    "created_by": _texts.filter(bool),
    "created_at": _moments,
    "updated_at": _moments,
    "revision": st.integers(1, 2**62),
    "expires_at": st.none() | _moments,
}
_attachments = st.builds(Attachment, content=_contents, **_common)
_summaries = st.one_of(
    st.builds(
        Summary,
        type=st.sampled_from([one for one in AttachmentType if one is not AttachmentType.BINARY]),
        content_bytes=st.integers(0, 2**40),
        mime_type=st.none(),
        size=st.none(),
        **_common,
    ),
    st.builds(
        Summary,
        type=st.just(AttachmentType.BINARY),
        content_bytes=st.just(0),
        mime_type=_texts.filter(bool),
        size=_sizes,
        **_common,
    ),
)


def _options(with_revision: bool) -> Options:
    def none(_: object) -> dict[str, object]:
        raise AssertionError("nothing has failed")

    return Options(with_revision, none)


@given(one=_attachments, with_revision=st.booleans())
def test_an_attachment(one: Attachment, with_revision: bool) -> None:
    of_message = _encode(results.get_attachment(codec.encode_got(one), _options(with_revision)))
    assert PrintedAttachment(one).printed(with_revision=with_revision) == of_message


@given(
    one=st.builds(
        Created,
        type=st.sampled_from(AttachmentType),
        pending=st.booleans(),
        **{name: _common[name] for name in ("id", "task_id", "key", "created_at", "revision", "expires_at")},
    ),
    with_revision=st.booleans(),
)
def test_what_a_create_says(one: Created, with_revision: bool) -> None:
    of_message = _encode(results.create_attachment(codec.encode_created(one), _options(with_revision)))
    assert PrintedCreated(one).printed(with_revision=with_revision) == of_message


@given(
    found=st.lists(_attachments, max_size=4) | st.lists(_summaries, max_size=4),
    total=st.integers(0, 2**40),
    more=st.booleans(),
    degraded=st.booleans(),
    with_revision=st.booleans(),
)
def test_a_page(
    found: list[Attachment | Summary],
    total: int,
    more: bool,
    degraded: bool,
    with_revision: bool,
) -> None:
    page = Page(tuple(found), total, has_more=more, degraded=degraded)
    of_message = _encode(results.list_attachments(codec.encode_page(page), _options(with_revision)))
    assert PrintedPage(page).printed(with_revision=with_revision) == of_message


@given(found=st.lists(st.none() | _attachments, min_size=1, max_size=4), with_revision=st.booleans())
def test_a_batch(found: list[Attachment | None], with_revision: bool) -> None:
    refs = [Ref("t", "k")] * len(found)
    for allow_missing in {True, None in found}:
        response = Messages().batch(refs, found, allow_missing=allow_missing)
        of_message = _encode(results.batch_get_attachments(response, _options(with_revision)))
        assert PrintedBatch(found).printed(with_revision=with_revision) == of_message


def test_what_is_printed_is_passed_on_as_it_is() -> None:
    assert _encode({"result": Raw(b'{"a":1.0}')}) == b'{"result":{"a":1.0}}'
