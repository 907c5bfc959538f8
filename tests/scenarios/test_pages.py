"""Pages, filter and order over 1,000 attachments with equal timestamps (design/contract.md, "Attachments")."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from tests.harness.samples import SAMPLES, create, delete, keys, page, text
from tests.harness.stores import Flush
from tests.harness.wire import Wire

COUNT = 1000
TYPES = list(SAMPLES)
# Where the orders of code points, of UTF-16, of locales and of lower-cased text differ.
PREFIXES = ["a", "B", "b", "_", "10", "9", "\u00e9", "e\u0301", "\uff5e", "\U0001f9ea", "~", " "]


@dataclass(frozen=True)
class Crowd:
    """A task with many attachments, all created at the same millisecond."""

    task: str
    types: Mapping[str, str]

    def expected(self, type_: str | None) -> list[str]:
        """The keys in the order promised: by code point. Python compares str so."""
        return sorted(key for key, of in self.types.items() if type_ in (None, of))


@pytest.fixture(scope="module")
async def crowd(wires: dict[str, Wire], postgres: asyncpg.Connection, flush: Flush) -> Crowd:
    """Created concurrently and in no order, a third over each wire."""
    task = f"t-{secrets.token_hex(8)}"
    ways = list(wires.values())
    await ways[0].call("task.create", {"id": task, "text": "a crowd"})
    types = {f"{PREFIXES[n % len(PREFIXES)]}{n * 7919 % COUNT}": TYPES[n % len(TYPES)] for n in range(COUNT)}
    assert len(types) == COUNT
    numbered = list(enumerate(types.items()))
    for start in range(0, COUNT, 100):
        creating = (
            create(ways[n % len(ways)], task, key, SAMPLES[of]) for n, (key, of) in numbered[start : start + 100]
        )
        await asyncio.gather(*creating)
    await postgres.execute(
        "UPDATE task_attachments SET created_at = (SELECT min(created_at) FROM task_attachments WHERE task_id = $1)"
        " WHERE task_id = $1",
        task,
    )
    await flush()
    return Crowd(task, types)


@pytest.mark.parametrize("limit", [7, 64, 100])
async def test_all_pages_together_are_the_whole_in_order(wire: Wire, crowd: Crowd, flush: Flush, limit: int) -> None:
    if limit == 64:
        await flush()
    assert await _walk(wire, crowd.task, limit) == crowd.expected(None)


@pytest.mark.parametrize("type_", SAMPLES)
async def test_all_pages_of_a_type_are_its_whole_in_order(wire: Wire, crowd: Crowd, type_: str) -> None:
    assert await _walk(wire, crowd.task, 33, type=type_) == crowd.expected(type_)


async def _walk(wire: Wire, task: str, limit: int, **filters: Any) -> list[str]:
    """Read page after page, checking count, size and hasMore of each, and return all keys."""
    found: list[str] = []
    while True:
        answer = await page(wire, task, limit=limit, offset=len(found), **filters)
        assert answer.keys() == {"attachments", "totalCount", "hasMore"}
        total = answer["totalCount"]
        got = keys(answer)
        assert len(got) == min(limit, total - len(found))
        assert all(
            attachment["type"] == filters.get("type", attachment["type"]) for attachment in answer["attachments"]
        )
        found += got
        assert answer["hasMore"] is (len(found) < total)
        if not answer["hasMore"]:
            assert len(found) == total
            return found


async def test_the_default_page_is_the_first_50(wire: Wire, crowd: Crowd) -> None:
    answer = await page(wire, crowd.task)
    assert keys(answer) == crowd.expected(None)[:50]
    assert (answer["totalCount"], answer["hasMore"]) == (COUNT, True)


async def test_the_last_page_has_no_more(wire: Wire, crowd: Crowd) -> None:
    answer = await page(wire, crowd.task, limit=100, offset=COUNT - 100)
    assert (len(answer["attachments"]), answer["totalCount"], answer["hasMore"]) == (100, COUNT, False)


@pytest.mark.parametrize("offset", [COUNT, COUNT + 1, 2**31, 2**63 - 1])
async def test_a_page_beyond_the_end_is_empty(wire: Wire, crowd: Crowd, offset: int) -> None:
    answer = await page(wire, crowd.task, offset=offset)
    assert answer == {"attachments": [], "totalCount": COUNT, "hasMore": False}


async def test_an_empty_list_says_so_in_every_field(wire: Wire, task: str) -> None:
    empty = {"attachments": [], "totalCount": 0, "hasMore": False}
    assert await page(wire, task) == empty
    assert await page(wire, task, type="json") == empty
    await create(wire, task, "notes")
    assert await page(wire, task, type="json") == empty


async def test_the_order_is_by_creation_whatever_is_overwritten(wire: Wire, task: str, flush: Flush) -> None:
    order = ["zeta", "alpha", "mu", "beta"]
    for key in order:
        await create(wire, task, key, text(key))
        await asyncio.sleep(0.003)
    await create(wire, task, "zeta", text("again"))
    await delete(wire, task, "mu")
    order.remove("mu")
    await create(wire, task, "mu", text("a new one"))
    assert keys(await page(wire, task)) == [*order, "mu"]
    await flush()
    assert keys(await page(wire, task)) == [*order, "mu"]
