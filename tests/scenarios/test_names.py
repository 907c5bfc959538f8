"""Which task ids and keys are names, and that they are compared exactly (design/contract.md, "Attachments")."""

from __future__ import annotations

import string
import unicodedata

import pytest

from tests.harness.samples import batch, create, delete, get, keys, page, text
from tests.harness.wire import CallError, Wire

KEYS = {
    "colons": "a:b:attachment:c",
    "looks like an index": "attachments",
    "emoji": "notes 🧪👩‍🔬",
    "right to left": "מפתח مفتاح",
    "composed": "caf\u00e9",
    "decomposed": "cafe\u0301",
    "blank": " ",
    "blanks around": " key ",
    "quotes": 'it\'s "quoted" \\ {braced} [*?] %s',
    "one code point": "k",
    "100 code points": "k" * 100,
    "100 code points of four bytes": "🧪" * 100,
    "zero width and no-break": "a\u200b\u00a0b",
    "line separator": "a\u2028b",
    "beyond the basic plane": "\U0010fffd",
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
async def test_a_key_is_any_text_without_control_characters(wire: Wire, task: str, key: str) -> None:
    created = await create(wire, task, key, text("kept"))
    assert created["key"] == key
    assert (await get(wire, task, key))["key"] == key
    assert keys(await page(wire, task)) == [key]
    assert [attachment["key"] for attachment in await batch(wire, (task, key))] == [key]
    assert (await delete(wire, task, key))["key"] == key
    assert (await page(wire, task))["totalCount"] == 0


async def test_keys_are_never_normalised(wire: Wire, task: str) -> None:
    spellings = ["caf\u00e9", "cafe\u0301", "CAF\u00c9", "caf\u00e9 "]
    assert len({unicodedata.normalize("NFC", spelling) for spelling in spellings[:2]}) == 1
    for spelling in spellings:
        await create(wire, task, spelling, text(spelling))
    for spelling in spellings:
        assert (await get(wire, task, spelling))["content"] == spelling
    assert sorted(keys(await page(wire, task))) == sorted(spellings)


@pytest.mark.parametrize("key", ["", "k" * 101, "🧪" * 101], ids=["empty", "101", "101 of four bytes"])
async def test_a_key_has_1_to_100_code_points(wire: Wire, task: str, key: str) -> None:
    with pytest.raises(CallError) as refused:
        await create(wire, task, key)
    assert (refused.value.reason, refused.value.fields) == ("INVALID_PARAMS", ["key"])
    if key:
        assert refused.value.message == "Invalid params: key must be 1 to 100 characters, not 101"


@pytest.mark.parametrize("character", ["\x00", "\n", "\x1f", "\x7f", "\x85", "\x9f"], ids=ascii)
async def test_a_key_has_no_control_characters(wire: Wire, task: str, character: str) -> None:
    with pytest.raises(CallError) as refused:
        await create(wire, task, f"a{character}b")
    assert (refused.value.reason, refused.value.fields) == ("INVALID_PARAMS", ["key"])


@pytest.mark.parametrize("length", [1, 128])
async def test_a_task_id_has_1_to_128_plain_characters(wire: Wire, length: int) -> None:
    first = {"grpc": "A", "jsonrpc": "_", "jsonrpc-shim": "."}[wire.name]
    alphabet = string.ascii_letters + string.digits + "._-"
    task = (first + alphabet * 2)[:length]
    assert (await wire.call("task.create", {"id": task, "text": "named"}))["id"] == task
    await create(wire, task, "k")
    assert (await get(wire, task, "k"))["taskId"] == task


BAD_TASK_IDS = ["", "t" * 129, "t 1", "t/1", "t:1", "té", "{t}", "t*", "t\n", "t\x00"]


@pytest.mark.parametrize("task_id", BAD_TASK_IDS, ids=lambda task_id: ascii(task_id[:5]))
@pytest.mark.parametrize(
    ("method", "field"),
    [("task.get_attachment", "taskId"), ("task.list_attachments", "taskId"), ("task.create", "id")],
)
async def test_any_other_task_id_is_refused(wire: Wire, method: str, field: str, task_id: str) -> None:
    others = {"task.get_attachment": {"key": "k"}, "task.create": {"text": "x"}}.get(method, {})
    with pytest.raises(CallError) as refused:
        await wire.call(method, {field: task_id, **others})
    assert (refused.value.reason, refused.value.fields) == ("INVALID_PARAMS", [field])
