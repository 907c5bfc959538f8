"""Keys and ids that look like names of Redis, ours among them."""

from __future__ import annotations

import pytest

from affix_server.domain import Ref
from affix_server.storage.redis import names
from tests.harness.samples import TEXT, create, delete, get, keys, page, text
from tests.harness.stores import Flush
from tests.harness.wire import INVALID_PARAMS, CallError, Wire

KEYS = (
    "x:attachments",
    ":pending",
    ":attachments",
    "attachments",
    "attachments:json",
    "pending",
    "x:pending",
    ":attachment:",
    "x:attachment:y",
    ":writing:",
    "writing:x",
    ":",
    "::",
    "*",
    "?[a-z]",
    "{x}",
    "}{",
    "cb:intents",
    "cb:task:t",
    "../../etc/passwd",
    "'; DROP TABLE tasks; --",
    '"',
    "\\",
    "%00",
    "$1",
    "-inf",
    " ",
    "k",
    "K",
    "\u00e9",
    "e\u0301",
    "\u202e",
    "\U0001f9ea" * 100,
)


async def test_keys_never_meet_each_other_or_our_own(wire: Wire, task: str, flush: Flush) -> None:
    for key in KEYS:
        await create(wire, task, key, text(f"of {key}"))
    for _ in ("from Redis", "from PostgreSQL"):
        assert sorted(keys(await page(wire, task, limit=100))) == sorted(KEYS)
        for key in KEYS:
            assert (await get(wire, task, key))["content"] == f"of {key}"
        await flush()
    for gone, key in enumerate(KEYS, 1):
        await delete(wire, task, key)
        assert sorted(keys(await page(wire, task, limit=100))) == sorted(KEYS[gone:])
    assert (await page(wire, task))["totalCount"] == 0
    await create(wire, task, "x:attachments", TEXT)
    assert (await wire.call("task.get", {"id": task}))["attachmentCount"] == 1
    await wire.call("task.delete", {"id": task})


@pytest.mark.parametrize(
    "task_id",
    [
        "t:attachments",
        "t:pending",
        ":",
        "t:attachment:k",
        "t\n",
        "*",
        "t ",
        "{t}",
        "\u0442",
        "../t",
        "t\x1f",
        "t" * 129,
        "",
    ],
)
async def test_ids_of_tasks_cannot_be_names_of_anything_else(wire: Wire, task_id: str) -> None:
    calls = (
        ("task.create_attachment", {"taskId": task_id, "key": "k", **TEXT}),
        ("task.get_attachment", {"taskId": task_id, "key": "k"}),
        ("task.list_attachments", {"taskId": task_id}),
        ("task.delete_attachment", {"taskId": task_id, "key": "k"}),
        ("task.get_attachments_batch", {"requests": [{"taskId": task_id, "key": "k"}]}),
        ("task.get", {"id": task_id}),
        ("task.delete", {"id": task_id}),
        *(() if task_id == "" else (("task.create", {"id": task_id, "text": "t"}),)),
    )
    for method, params in calls:
        with pytest.raises(CallError) as refused:
            await wire.call(method, params)
        assert (refused.value.code, refused.value.reason) == (INVALID_PARAMS, "INVALID_PARAMS"), method


def test_an_intent_of_any_key_is_read_as_it_was_written() -> None:
    for key in KEYS:
        ref = names.parse_intent(names.intent(Ref("t", key), "token").encode())
        assert ref == Ref("t", key)
