"""What an attachment's content must be, rule by rule (design/contract.md, "Attachments").

On JSON-RPC a value that is not JSON is a parse error of the envelope; those rules are gRPC's alone.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness.grpc_wire import GrpcWire
from tests.harness.samples import batch, create, get, json_value, page, text
from tests.harness.service import MAX_CONTENT_BYTES, MAX_MESSAGE_BYTES
from tests.harness.stores import Flush
from tests.harness.wire import CallError, RawJson, Wire

GOOD_URLS = [
    "https://docs.example.com/database-optimization-guide",
    "mailto:someone@example.com",
    "ftp://files.example.com/a%20b",
    "urn:isbn:0451450523",
    "s3://bucket/key?versionId=1",
    "vscode+remote.1-x://host:8080/~user/(a);b,c=d#frag",
    "https://[2001:db8::1]:8443/",
    "https://example.com/".ljust(8192, "x"),
]
BAD_URLS = {
    "empty": "",
    "no scheme": "docs.example.com/guide",
    "path": "/guide",
    "network path": "//docs.example.com/guide",
    "scheme begins with a digit": "1http://example.com",
    "8193 characters": "https://example.com/".ljust(8193, "x"),
    "blank inside": "https://example.com/a b",
    "blank before": " https://example.com/",
    "line feed": "https://example.com/\n",
    "NUL": "https://example.com/\x00",
    "javascript": "javascript:alert(1)",
    "JavaScript": "JavaScript:alert(1)",
    "data": "data:text/html,<script>",
    "vbscript": "vbscript:msgbox",
}
GOOD_MIME_TYPES = [
    "application/pdf",
    "image/svg+xml",
    "APPLICATION/PDF",
    "application/vnd.ms-excel.sheet.macroEnabled.12",
    "text/plain; charset=utf-8",
    'multipart/mixed;boundary="a b; c"',
    "x-custom/x-thing",
]
BAD_MIME_TYPES = [
    "",
    "pdf",
    "application/",
    "/pdf",
    "application/pdf/1",
    "application /pdf",
    "application/pdf;",
    "text/plain; charset",
    "text/plain; =utf-8",
    "text/plain; charset=a b",
    "téxt/plain",
    "text/plain\n",
]


@pytest.mark.parametrize("url", GOOD_URLS, ids=lambda url: url[:20])
async def test_an_absolute_uri_is_stored_as_it_is(wire: Wire, task: str, url: str) -> None:
    await create(wire, task, "link", {"type": "url", "url": url})
    assert (await get(wire, task, "link"))["url"] == url


@pytest.mark.parametrize("url", BAD_URLS.values(), ids=BAD_URLS)
async def test_any_other_url_is_refused(wire: Wire, task: str, url: str) -> None:
    await _refused(wire, task, {"type": "url", "url": url}, "url")


@pytest.mark.parametrize("mime_type", GOOD_MIME_TYPES)
async def test_a_mime_type_is_stored_as_it_is(wire: Wire, task: str, mime_type: str) -> None:
    await create(wire, task, "file", {"type": "binary", "mimeType": mime_type})
    assert (await get(wire, task, "file"))["mimeType"] == mime_type


@pytest.mark.parametrize("mime_type", BAD_MIME_TYPES, ids=ascii)
async def test_any_other_mime_type_is_refused(wire: Wire, task: str, mime_type: str) -> None:
    await _refused(wire, task, {"type": "binary", "mimeType": mime_type}, "mimeType")


@pytest.mark.parametrize("size", [0, -1, -(2**63)])
async def test_a_size_is_positive(wire: Wire, task: str, size: int) -> None:
    await _refused(wire, task, {"type": "binary", "mimeType": "a/b", "size": size}, "size")


@pytest.mark.parametrize("type_", ["text", "markdown"])
async def test_text_has_no_nul_whichever_store_is_up(wire: Wire, task: str, type_: str) -> None:
    await _refused(wire, task, {"type": type_, "content": "a\x00b"}, "content")


async def test_json_may_be_128_levels_deep(wire: Wire, task: str) -> None:
    for deep in ("[" * 128 + "]" * 128, '{"a":' * 127 + "[1]" + "}" * 127):
        await create(wire, task, "deep", json_value(deep))
        assert (await get(wire, task, "deep"))["value"] == deep


@pytest.mark.parametrize("levels", [129, 900])
async def test_json_is_no_deeper_than_128_levels(wire: Wire, task: str, levels: int) -> None:
    await _refused(wire, task, json_value("[" * levels + "]" * levels), "value")
    await _refused(wire, task, json_value('{"a":' * levels + "1" + "}" * levels), "value")


async def test_depth_counts_brackets_not_those_in_strings(wire: Wire, task: str) -> None:
    flat = RawJson('["' + "[{" * 200 + '\\"[", [], [], {}]')
    await create(wire, task, "flat", {"type": "json", "value": flat})
    assert (await get(wire, task, "flat"))["value"] == flat


NOT_JSON = {
    "empty": "",
    "blank": " ",
    "cut": '{"a": 1',
    "trailing comma": "[1,]",
    "two values": "1 2",
    "NaN": "NaN",
    "Infinity": "-Infinity",
    "leading zero": "01",
    "plus": "+1",
    "no fraction": "1.",
    "no integer part": ".5",
    "no exponent": "1e",
    "hexadecimal": "0x10",
    "single quotes": "'a'",
    "comment": "1 // one",
    "bare word": "nul",
    "raw control character": '"\x01"',
    "raw line feed": '"a\nb"',
    "unknown escape": '"\\x41"',
    "lone high surrogate": '"\\ud83e"',
    "lone low surrogate": '"\\udd2a"',
    "surrogates the wrong way round": '"\\udd2a\\ud83e"',
    "lone surrogate in a name": '{"\\ud83e": 1}',
    "byte order mark": "\ufeff1",
    "NUL after": "1\x00",
    "no-break space": "\u00a01",
    "10,000 brackets": "[" * 10_000 + "]" * 10_000,
    "10,000 open brackets": "[" * 10_000,
}


@pytest.mark.parametrize("value", NOT_JSON.values(), ids=NOT_JSON)
async def test_a_value_that_is_not_json_is_refused_over_grpc(grpc_wire: GrpcWire, task: str, value: str) -> None:
    await _refused(grpc_wire, task, json_value(value), "value")


async def test_content_may_be_as_large_as_the_limit(wire: Wire, task: str) -> None:
    # Three bytes a character: the limit is on bytes.
    largest = "€" * (MAX_CONTENT_BYTES // 3) + "x" * (MAX_CONTENT_BYTES % 3)
    await create(wire, task, "large", text(largest))
    assert (await get(wire, task, "large"))["content"] == largest
    value = RawJson('"' + "x" * (MAX_CONTENT_BYTES - 2) + '"')
    await create(wire, task, "large", {"type": "json", "value": value})
    assert (await get(wire, task, "large"))["value"] == value


async def test_content_beyond_the_limit_is_refused(wire: Wire, task: str) -> None:
    await _refused(wire, task, text("€" * (MAX_CONTENT_BYTES // 3 + 1)), "content")
    await _refused(wire, task, {"type": "markdown", "content": "x" * (MAX_CONTENT_BYTES + 1)}, "content")
    await _refused(wire, task, json_value('"' + "x" * (MAX_CONTENT_BYTES - 1) + '"'), "value")


@pytest.mark.parametrize("cold", [False, True], ids=["warm", "cold"])
async def test_an_answer_beyond_the_limit_is_refused_with_the_advice_to_lower_limit(
    wire: Wire,
    task: str,
    flush: Flush,
    cold: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    count = MAX_MESSAGE_BYTES // MAX_CONTENT_BYTES + 1
    for n in range(count):
        await create(wire, task, f"large {n}", text("x" * MAX_CONTENT_BYTES))
    if cold:
        await flush()
    with pytest.raises(CallError) as refused:
        await page(wire, task)
    assert (refused.value.reason, refused.value.fields) == ("INVALID_PARAMS", ["limit"])
    assert "lower" in refused.value.message

    half = await page(wire, task, limit=count // 2)
    assert (len(half["attachments"]), half["totalCount"], half["hasMore"]) == (count // 2, count, True)

    with pytest.raises(CallError) as refused:
        await batch(wire, *((task, f"large {n}") for n in range(count)))
    assert (refused.value.reason, refused.value.fields) == ("INVALID_PARAMS", ["requests"])


async def _refused(wire: Wire, task: str, content: dict[str, Any], field: str) -> None:
    """The content is refused for this field, and nothing is stored."""
    with pytest.raises(CallError) as refused:
        await create(wire, task, "refused", content)
    assert (refused.value.reason, refused.value.fields) == ("INVALID_PARAMS", [field])
    assert refused.value.message.startswith(f"Invalid params: {field} ")
    assert (await page(wire, task))["totalCount"] == 0
