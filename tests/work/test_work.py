"""How much each operation asks of the stores, counted there: what makes it fast, without a clock that could be wrong.

(docs/performance.md, "What an operation costs the stores")
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from tests.work.conftest import Counted

CALLS = 50
# What a server does by itself, about once a second, is not once a call.
OFTEN = CALLS // 2
AT_ONCE = 64
TEXT = {"type": "text", "content": "a result"}

Refs = Callable[[int], list[dict[str, str]]]


async def _stored(counted: Counted, refs: list[dict[str, str]]) -> None:
    await counted.wire.call("task.create_attachments_batch", {"requests": [{**ref, **TEXT} for ref in refs]})
    await counted.start()


async def _at_once(http: aiohttp.ClientSession, counted: Counted, method: str, params: list[dict[str, str]]) -> None:
    calls = [{"jsonrpc": "2.0", "id": place, "method": method, "params": one} for place, one in enumerate(params)]
    headers = {"Content-Type": "application/json"}
    async with http.post(f"{counted.service.url}/rpc", data=json.dumps(calls), headers=headers) as answer:
        answers: list[dict[str, Any]] = await answer.json()
    assert all("result" in one for one in answers)


async def test_a_hot_get_is_one_round_trip(counted: Counted, counted_task: str, refs: Refs) -> None:
    await _stored(counted, refs(1))
    for _ in range(CALLS):
        await counted.wire.call("task.get_attachment", refs(1)[0])
    assert counted.round_trips(counted_task) == CALLS
    assert len(counted.trips.noted) < CALLS + OFTEN
    assert await counted.statements(at_least=OFTEN) == []


async def test_gets_at_the_same_time_share_round_trips(
    counted: Counted, counted_task: str, refs: Refs, http: aiohttp.ClientSession
) -> None:
    await _stored(counted, refs(AT_ONCE))
    await _at_once(http, counted, "task.get_attachment", refs(AT_ONCE))
    assert counted.round_trips(counted_task) <= AT_ONCE / 8
    assert await counted.statements(at_least=OFTEN) == []


async def test_a_hot_create_is_two_round_trips_and_one_statement(
    counted: Counted, counted_task: str, refs: Refs
) -> None:
    await _stored(counted, refs(1))
    for ref in refs(CALLS):
        await counted.wire.call("task.create_attachment", {**ref, **TEXT})
    assert counted.round_trips(counted_task) == CALLS * 2
    assert len(counted.trips.noted) < CALLS * 2 + OFTEN
    assert await counted.statements(at_least=OFTEN) == [CALLS]


async def test_creates_at_the_same_time_share_round_trips_and_statements(
    counted: Counted, counted_task: str, refs: Refs, http: aiohttp.ClientSession
) -> None:
    await _stored(counted, refs(1))
    await _at_once(http, counted, "task.create_attachment", [{**ref, **TEXT} for ref in refs(AT_ONCE)])
    assert counted.round_trips(counted_task) <= AT_ONCE / 4
    assert await counted.statements(at_least=AT_ONCE // 8) == []


async def test_a_page_is_one_round_trip(counted: Counted, counted_task: str, refs: Refs) -> None:
    await _stored(counted, refs(100))
    for place in range(CALLS):
        await counted.wire.call("task.list_attachments", {"taskId": counted_task, "limit": 50, "offset": place})
    assert counted.round_trips(counted_task) == CALLS
    assert len(counted.trips.noted) < CALLS + OFTEN
    assert await counted.statements(at_least=OFTEN) == []


async def test_a_batch_of_100_is_one_round_trip(counted: Counted, counted_task: str, refs: Refs) -> None:
    await _stored(counted, refs(100))
    for _ in range(CALLS):
        await counted.wire.call("task.get_attachments_batch", {"requests": refs(100)})
    assert counted.round_trips(counted_task) == CALLS
    assert len(counted.trips.noted) < CALLS + OFTEN
    assert await counted.statements(at_least=OFTEN) == []


async def test_a_batch_of_creates_is_two_round_trips_and_one_statement(
    counted: Counted, counted_task: str, refs: Refs
) -> None:
    await _stored(counted, refs(1))
    for _ in range(CALLS):
        batch = [{**ref, **TEXT} for ref in refs(10)]
        await counted.wire.call("task.create_attachments_batch", {"requests": batch})
    assert counted.round_trips(counted_task) == CALLS * 2
    assert await counted.statements(at_least=OFTEN) == [CALLS]


async def test_a_large_read_finds_the_memory_of_the_last_one(
    counted: Counted, refs: Refs, http: aiohttp.ClientSession
) -> None:
    """The kernel would clear each page of it anew, which costs more than all else: 244 pages for each copy of 1 MB."""
    (ref,) = refs(1)
    large = {"type": "markdown", "content": "a line of text\n" * 66_000}
    await counted.wire.call("task.create_attachment", {**ref, **large})
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "task.get_attachment", "params": ref})

    async def read() -> None:
        headers = {"Content-Type": "application/json"}
        async with http.post(f"{counted.service.url}/rpc", data=body, headers=headers) as answer:
            assert len(await answer.read()) > 1_000_000

    for _ in range(CALLS):
        await read()
    before = _pages(counted.service.command.pid)
    for _ in range(CALLS):
        await read()
    assert (_pages(counted.service.command.pid) - before) / CALLS < 100


async def test_what_calls_leave_behind_is_collected_in_small_parts(
    counted: Counted, refs: Refs, http: aiohttp.ClientSession
) -> None:
    """Each call over gRPC leaves some objects in a circle; to collect 50,000 of them makes callers wait for 40 ms."""
    (ref,) = refs(1)
    await counted.wire.call("task.create_attachment", {**ref, **TEXT})
    collections, collected = await _collections(http, counted)
    for _ in range(40):
        await asyncio.gather(*(counted.wire.call("task.get_attachment", ref) for _ in range(64)))
    now = await _collections(http, counted)
    assert now[0] > collections
    assert (now[1] - collected) / (now[0] - collections) < 5_000


async def _collections(http: aiohttp.ClientSession, counted: Counted) -> tuple[float, float]:
    """Return how often the server has collected garbage, and how many objects."""
    async with http.get(f"{counted.service.url}/metrics") as answer:
        lines = [line.split() for line in (await answer.text()).splitlines() if line.startswith("python_gc_")]
    sums = dict.fromkeys(("python_gc_collections_total", "python_gc_objects_collected_total"), 0.0)
    for name, value in lines:
        if name.partition("{")[0] in sums:
            sums[name.partition("{")[0]] += float(value)
    return sums["python_gc_collections_total"], sums["python_gc_objects_collected_total"]


def _pages(pid: int) -> int:
    """Return how many pages of memory the kernel has given a process so far (proc_pid_stat(5), minflt)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])
