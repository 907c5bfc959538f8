"""What of a task's metadata becomes what, to the letter; no store is needed for it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affix_cli.metadata.members import members, written
from affix_cli.metadata.planning import Entry, Plan, Skip, plan
from affix_server.domain import Content, JsonContent, MarkdownContent, TextContent, UrlContent

MOST = 1000

SCALARS = st.sampled_from(
    [
        "0",
        "-0.0",
        "1e400",
        "12345678901234567890",
        '""',
        '"[{\\"\\\\"',
        '"}]"',
        '"\\u0000"',
        '"\\ud800"',
        "null",
        "true",
    ]
)
SPACE = st.sampled_from(["", " ", "\n\t", "\r\n  "])
NAMES = st.sampled_from(['"a"', '"b"', '"data"', '"\\u0064ata"', '"]}"', '"\\\\\\""', '"a\\\\"', '""', '"é"'])


def spaced(*parts: st.SearchStrategy[str] | str) -> st.SearchStrategy[str]:
    drawn = [part if isinstance(part, st.SearchStrategy) else st.just(part) for part in parts]
    return st.tuples(*(one for part in drawn for one in (SPACE, part)), SPACE).map("".join)


def objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(spaced(NAMES, ":", values), max_size=4).flatmap(lambda some: spaced("{", ",".join(some), "}"))


VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(spaced(inner), max_size=3).map(lambda items: f"[{','.join(items)}]"), objects(inner)
    ),
    max_leaves=12,
)


def planned(metadata: str) -> Plan:
    found = plan(metadata, MOST)
    assert found is not None
    return found


def content(key: str, value: str) -> Content:
    """Return what the only entry becomes."""
    (entry,) = planned(f'{{"data": {{"{key}": {value}}}}}').entries
    assert entry.key == key
    return entry.content


def reason(metadata: str) -> tuple[str | None, str]:
    """Return the key and the reason of the only skip; nothing is moved."""
    found = planned(metadata)
    assert found.entries == ()
    (skip,) = found.skips
    return skip.key, skip.reason


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("log", '"line\\n\\u00e9 \\ud83d\\ude00"', TextContent("line\né 😀")),
        ("empty", '""', TextContent("")),
        ("notes.md", '"# Notes"', MarkdownContent("# Notes")),
        (".md", '""', MarkdownContent("")),
        ("notes.MD", '"# Notes"', TextContent("# Notes")),
        ("notes.md.txt", '"# Notes"', TextContent("# Notes")),
        ("link", '"https:\\/\\/example.com/a?b=c#d"', UrlContent("https://example.com/a?b=c#d")),
        ("link", '"HTTP://example.com"', UrlContent("HTTP://example.com")),
        ("link.md", '"https://example.com/"', UrlContent("https://example.com/")),
        ("link", '"https://example.com/a b"', TextContent("https://example.com/a b")),
        ("link", '"see https://example.com/"', TextContent("see https://example.com/")),
        ("link", '"https:///nowhere"', TextContent("https:///nowhere")),
        ("link", '"http:"', TextContent("http:")),
        ("link", '"ftp://example.com/"', TextContent("ftp://example.com/")),
        ("link", '"javascript:alert(1)"', TextContent("javascript:alert(1)")),
        ("link", '"httpsx://example.com/"', TextContent("httpsx://example.com/")),
        ("n", "12345678901234567890", JsonContent("12345678901234567890")),
        ("n", "-0.0", JsonContent("-0.0")),
        ("n", "1E+2", JsonContent("1E+2")),
        ("n", "null", JsonContent("null")),
        ("n.md", "true", JsonContent("true")),
        ("o", '{ "b":1.0 ,"a" : [1,\n2], "b":"]}" }', JsonContent('{ "b":1.0 ,"a" : [1,\n2], "b":"]}" }')),
        ("o", '["\\u0000"]', JsonContent('["\\u0000"]')),
    ],
)
def test_each_value_becomes_its_type(key: str, value: str, expected: Content) -> None:
    assert content(key, value) == expected


def test_a_url_that_is_too_long_for_one_is_text() -> None:
    url = "https://example.com/" + "x" * 8200
    found = plan(f'{{"data": {{"link": "{url}"}}}}', 10_000)
    assert found is not None
    assert found.entries == (Entry("link", TextContent(url)),)


@pytest.mark.parametrize(
    ("data", "key", "why"),
    [
        (f'{{"{"k" * 101}": 1}}', "k" * 101, "the key must be 1 to 100 characters, not 101"),
        ('{"a\\nb": 1}', "a\nb", "the key must not contain control characters"),
        ('{"a\\u0000": 1}', "a\0", "the key must not contain control characters"),
        ('{"": 1}', "", "the key is empty"),
        ('{"\\ud800": 1}', '"\\ud800"', "the key contains half a surrogate pair (\\ud800 to \\udfff)"),
        ('{"k": "a\\u0000"}', "k", "the content must not contain U+0000"),
        ('{"k": "\\udc00"}', "k", "the content contains half a surrogate pair (\\ud800 to \\udfff)"),
        (f'{{"k": "{"é" * 501}"}}', "k", "the content must be at most 1000 bytes, not 1002"),
        (f'{{"k.md": "{"x" * 1001}"}}', "k.md", "the content must be at most 1000 bytes, not 1001"),
        (f'{{"k": ["{"x" * 997}"]}}', "k", "the content must be at most 1000 bytes, not 1001"),
        (f'{{"k": {"[" * 129}{"]" * 129}}}', "k", "the content must be at most 128 levels deep"),
        ('["a"]', None, "`data` is no object"),
        ('"a"', None, "`data` is no object"),
        ("null", None, "`data` is no object"),
    ],
)
def test_what_cannot_be_moved_stays_and_says_why(data: str, key: str | None, why: str) -> None:
    metadata = f'{{"a": 1, "data": {data}, "b": 2}}'
    assert reason(metadata) == (key, why)
    if key is not None:
        assert planned(metadata).left(()) == metadata


def test_the_content_may_be_as_large_and_deep_as_any() -> None:
    deep = "[" * 128 + "]" * 128
    assert content("k", deep) == JsonContent(deep)
    assert content("k", f'"{"é" * 500}"') == TextContent("é" * 500)
    assert content("k" * 100, "1") == JsonContent("1")


def test_half_a_surrogate_pair_within_a_value_is_refused() -> None:
    _, why = reason('{"data": {"k": ["\\ud800"]}}')
    assert why.startswith("the content must be valid JSON: ")


@pytest.mark.parametrize("metadata", ["{}", ' { "a": {"data": {}} } ', '{"Data": {}}', "[]", "null", '"data"', "1"])
def test_metadata_without_data_is_left_alone(metadata: str) -> None:
    assert plan(metadata, MOST) is None


@pytest.mark.parametrize(
    ("metadata", "left"),
    [
        ('{"data": {"k": 1}}', "{}"),
        ('{"data": {}}', "{}"),
        ('{"data" :{ } , "a":1.0}', '{ "a":1.0}'),
        ('{"a" : 1e0,  "data": {"k": 1}, "b": {"x" :[ ]} }', '{"a" : 1e0, "b": {"x" :[ ]} }'),
        ('{"\\u0064ata": {"k": 1}, "data2": "\\u0064"}', '{ "data2": "\\u0064"}'),
        ('{"data": {"old": 1}, "a": 1, "data": {"k": 2}}', '{ "a": 1}'),
        ('{"a": 1, "data": {"k": 1}, "a": 2}', '{"a": 1, "a": 2}'),
        (
            '{"big": 12345678901234567890, "data": {"k": 1}, "z": "\\u0000"}',
            '{"big": 12345678901234567890, "z": "\\u0000"}',
        ),
    ],
)
def test_the_rest_of_the_metadata_keeps_its_text(metadata: str, left: str) -> None:
    found = planned(metadata)
    assert not found.skips
    assert found.left({entry.key for entry in found.entries}) == left


@pytest.mark.parametrize(
    ("metadata", "left"),
    [
        ('{"data": {"k": 1, "": 2.0 , "l":3}, "a": 1}', '{"data": { "": 2.0 }, "a": 1}'),
        ('{"data": {"x": 1}, "data": {"k": 1, "": "\\u0000"} , "a": 1}', '{ "data": { "": "\\u0000"} , "a": 1}'),
        ('{"data": {"": 1, "k": 1, "": 2}}', '{"data": {"": 1, "": 2}}'),
    ],
)
def test_what_is_skipped_stays_in_data(metadata: str, left: str) -> None:
    found = planned(metadata)
    assert [skip.key for skip in found.skips] == [""]
    assert found.left({entry.key for entry in found.entries}) == left


def test_the_empty_key_is_not_one_of_two_quotes() -> None:
    found = planned('{"data": {"": 1, "\\"\\"": 2}}')
    assert found.entries == (Entry('""', JsonContent("2")),)
    assert [skip.key for skip in found.skips] == [""]


def test_of_members_of_one_name_the_last_one_counts() -> None:
    found = planned('{"data": {"lost": 1}, "data": {"k": 1, "\\u006b": 2}}')
    assert found.entries == (Entry("k", JsonContent("2")),)
    assert planned('{"data": {"k": 1}, "data": 5}').skips == (Skip(None, "`data` is no object"),)


@given(objects(VALUES))
def test_members_are_those_that_python_reads(text: str) -> None:
    found = members(text)
    assert found is not None
    pairs = json.loads(text, object_pairs_hook=lambda pairs: pairs)
    assert [json.loads(one.quoted_name) for one in found] == [name for name, _ in pairs]
    again = [json.loads(one.value, object_pairs_hook=lambda pairs: pairs) for one in found]
    assert repr(again) == repr([value for _, value in pairs])
    assert json.loads(written(found)) == json.loads(text)


@given(objects(VALUES))
def test_nothing_is_lost(text: str) -> None:
    found = plan(text, MOST)
    before = json.loads(text)
    if found is None:
        assert "data" not in before
        return
    after = json.loads(found.left({entry.key for entry in found.entries})) if found.entries else dict(before)
    rest = after.pop("data", {})
    data = before.pop("data")
    assert after == before
    if isinstance(data, dict):
        assert {*rest, *(entry.key for entry in found.entries)} == set(data)
        assert all(rest[name] == data[name] for name in rest)
