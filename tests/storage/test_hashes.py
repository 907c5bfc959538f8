"""Attachments as hashes, read back by place: what is whole comes back as it was, what is not is said to be broken."""

from __future__ import annotations

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affix_server.domain import Attachment, BinaryContent, JsonContent, MarkdownContent, Ref, TextContent, UrlContent
from affix_server.storage.entries import Entry, Tombstone, TooLarge
from affix_server.storage.redis.hashes import READ, CorruptEntryError, entry_fields, parse_entry, parse_read
from affix_server.times import format_ms, parse_ms, parse_utc

# The places of what only references, deletions and binaries have.
OF_MOST = READ.index("url")
REF = Ref("t", "k")
_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
_moments = st.integers(0, 253_402_300_799_999)
_contents = st.one_of(
    st.builds(JsonContent, st.sampled_from(["null", "1e2", '{"a": "é"}', "[]"])),
    st.builds(MarkdownContent, _texts),
    st.builds(TextContent, _texts),
    st.builds(UrlContent, _texts.filter(bool)),
    st.builds(BinaryContent, _texts.filter(bool), st.none() | st.integers(1, 2**40)),
)
_attachments = st.builds(
    Attachment,
    id=st.text(string.ascii_letters, min_size=1),
    task_id=st.just(REF.task_id),
    key=st.just(REF.key),
    content=_contents,
    created_by=_texts.filter(bool),
    created_at=_moments,
    updated_at=_moments,
    revision=st.integers(1, 2**62),
    expires_at=st.none() | _moments,
)


def _hash(entry: Entry) -> dict[str, bytes]:
    parts = [str(part).encode() for part in entry_fields(entry)]
    return {name.decode(): value for name, value in zip(parts[::2], parts[1::2], strict=True)}


def _values(fields: dict[str, bytes]) -> list[bytes | None]:
    """Return what _read.lua would."""
    values = [fields.get(name) for name in READ]
    return values[:OF_MOST] if "value" in fields or "content" in fields else values


@given(one=_attachments)
def test_what_is_whole_comes_back(one: Attachment) -> None:
    fields = _hash(one)
    assert parse_read(REF, _values(fields)) == one
    assert parse_read(REF, [fields.get(name) for name in READ]) == one
    assert parse_entry(REF, [part for name, value in fields.items() for part in (name.encode(), value)]) == one


@given(one=_attachments, chosen=st.randoms())
def test_what_lacks_a_field_is_broken(one: Attachment, chosen: random.Random) -> None:
    fields = _hash(one)
    needed = fields.keys() - {"taskId", "key", "size", "expiresAt", "revision"}
    del fields[chosen.choice(sorted(needed))]
    with pytest.raises(CorruptEntryError) as caught:
        parse_read(REF, _values(fields))
    assert caught.value.revision == str(one.revision)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", b"picture"),
        ("value", b"\xff"),
        ("id", b"\xff"),
        ("createdBy", b"\xff"),
        ("createdAt", b"2025-02-30T00:00:00Z"),
        ("createdAt", b"2025-01-19T11:00:00"),
        ("updatedAt", b""),
        ("updatedAt", b"yesterday"),
        ("expiresAt", b"\xff"),
        ("revision", b"one"),
        ("revision", b""),
    ],
)
def test_what_cannot_be_read_is_broken(field: str, value: bytes) -> None:
    fields = _hash(Attachment("ta-1", *REF, JsonContent("1"), "me", 1, 2, 3, 4))
    with pytest.raises(CorruptEntryError):
        parse_read(REF, _values(fields | {field: value}))


def test_a_tombstone_is_one() -> None:
    gone = Tombstone(REF, "", 1_700_000_000_123, 7)
    assert parse_read(REF, _values(_hash(gone))) == gone


def test_what_is_too_large_is_told_by_its_size() -> None:
    assert parse_read(REF, 1_000_000) == TooLarge(1_000_000)


@pytest.mark.parametrize("nothing", [[], [None] * len(READ)], ids=["another type", "no field of an attachment"])
def test_nothing_is_none(nothing: list[None]) -> None:
    assert parse_read(REF, nothing) is None


@given(ms=_moments)
def test_a_time_is_read_as_it_is_printed(ms: int) -> None:
    assert parse_utc(format_ms(ms).encode()) == parse_ms(format_ms(ms)) == ms


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2025-01-19T12:00:00.250+01:00", "2025-01-19T11:00:00.250Z"),
        ("2025-01-19T11:00:00.000Z", "2025-01-19T11:00:00Z"),
        ("20250119T110000.250Z", "2025-01-19T11:00:00.250Z"),
        ("2025-W03-7T11:00:00Z", "2025-01-19T11:00:00Z"),
    ],
)
def test_times_of_other_programs_are_read_too(text: str, same: str) -> None:
    assert format_ms(parse_utc(text.encode())) == same
