"""Lists by the beginning of the key, without contents, and the newest first."""

from __future__ import annotations

import pytest

from tests.harness.wire import INVALID_PARAMS, CallError, RawJson, Wire

KEYS = ("git-commit-1", "note", "git-commit-2", "git", "git-commit-é", "Git-commit-3")


@pytest.fixture
async def filled(wire: Wire, task: str) -> str:
    for key in KEYS:
        content = (
            {"type": "text", "content": "ä" * 10}
            if key != "git-commit-2"
            else {"type": "json", "value": RawJson("1.0")}
        )
        await wire.call("task.create_attachment", {"taskId": task, "key": key, **content})
    return task


async def _list(wire: Wire, task: str, **options: object) -> tuple[list[str], int, bool]:
    page = await wire.call("task.list_attachments", {"taskId": task, **options})
    return [one["key"] for one in page["attachments"]], page["totalCount"], page["hasMore"]


async def test_a_prefix_selects_by_the_beginning_of_the_key(wire: Wire, filled: str) -> None:
    commits = ["git-commit-1", "git-commit-2", "git-commit-é"]
    assert await _list(wire, filled, keyPrefix="git-commit-") == (commits, 3, False)
    assert await _list(wire, filled, keyPrefix="git-commit-", limit=2) == (commits[:2], 3, True)
    assert await _list(wire, filled, keyPrefix="git-commit-", limit=2, offset=2) == (commits[2:], 3, False)
    assert await _list(wire, filled, keyPrefix="git-commit-", type="json") == (["git-commit-2"], 1, False)
    assert await _list(wire, filled, keyPrefix="git-commit-é") == (["git-commit-é"], 1, False)
    assert await _list(wire, filled, keyPrefix="%") == ([], 0, False)
    assert await _list(wire, filled, keyPrefix="") == (list(KEYS), 6, False)


async def test_the_newest_may_come_first(wire: Wire, filled: str) -> None:
    newest = list(reversed(KEYS))
    assert await _list(wire, filled, order="desc") == (newest, 6, False)
    assert await _list(wire, filled, order="desc", limit=2, offset=3) == (newest[3:5], 6, True)
    assert await _list(wire, filled, order="desc", limit=3, offset=5) == (newest[5:], 6, False)
    assert await _list(wire, filled, order="desc", offset=6) == ([], 6, False)
    assert await _list(wire, filled, order="desc", keyPrefix="git-commit-", limit=2) == (
        ["git-commit-é", "git-commit-2"],
        3,
        True,
    )
    assert await _list(wire, filled, order="asc") == (list(KEYS), 6, False)


async def test_contents_may_be_left_out(wire: Wire, filled: str) -> None:
    binary = {"type": "binary", "mimeType": "image/png", "size": 7}
    await wire.call("task.create_attachment", {"taskId": filled, "key": "picture", **binary})
    await wire.call("task.create_attachment", {"taskId": filled, "key": "link", "type": "url", "url": "https://a.b/"})
    whole = await wire.call("task.list_attachments", {"taskId": filled})
    told = await wire.call("task.list_attachments", {"taskId": filled, "view": "metadata"})
    sizes = [one.pop("contentBytes") for one in told["attachments"]]
    assert sizes == [20, 20, 3, 20, 20, 20, 0, 12]
    for one in whole["attachments"]:
        for name in ("content", "value", "url"):
            one.pop(name, None)
    assert told == whole
    assert told["attachments"][6]["mimeType"] == "image/png"
    assert await wire.call("task.list_attachments", {"taskId": filled, "view": "full"}) != told


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"keyPrefix": "k" * 101}, "keyPrefix"),
        ({"keyPrefix": "a\n"}, "keyPrefix"),
    ],
)
async def test_bad_options_are_refused(wire: Wire, task: str, bad: dict[str, object], field: str) -> None:
    with pytest.raises(CallError) as caught:
        await _list(wire, task, **bad)
    assert (caught.value.code, caught.value.fields) == (INVALID_PARAMS, [field])
