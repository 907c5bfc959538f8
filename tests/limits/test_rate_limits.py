"""How often a caller may call, on both wires and across server processes."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import aiohttp
import grpc
import pytest
from redis.asyncio import Redis

from affix.v1 import attachments_pb2, tasks_pb2
from affix_server.rate_limits import KEY_PREFIX, SETTINGS
from tests.harness.jsonrpc_wire import JsonRpcWire
from tests.harness.service import Service
from tests.harness.wire import INVALID_PARAMS, CallError, Wire
from tests.limits.site import LIMIT, NO_TASK, SHORT_SECONDS, Site, grpc_call

RATE_LIMITED = -32000
REFUSED = grpc.StatusCode.RESOURCE_EXHAUSTED
METHODS = {
    f"/{service.full_name}/{method.name}": method.name
    for service in (
        attachments_pb2.DESCRIPTOR.services_by_name["AttachmentService"],
        tasks_pb2.DESCRIPTOR.services_by_name["TaskService"],
    )
    for method in service.methods
}


async def failing(wire: Wire, method: str, params: dict[str, Any], instance: str) -> CallError:
    with pytest.raises(CallError) as failed:
        await wire.call(method, params, instance=instance)
    return failed.value


async def test_a_caller_that_has_used_up_its_limit_is_refused(wire: Wire, instance: str) -> None:
    for _ in range(LIMIT):
        assert (await failing(wire, "task.delete_attachment", NO_TASK, instance)).reason == "TASK_NOT_FOUND"
    refused = await failing(wire, "task.delete_attachment", NO_TASK, instance)
    assert (refused.code, refused.reason) == (RATE_LIMITED, "RATE_LIMITED")
    assert 50_000 < refused.data["retryAfterMs"] <= 60_001
    assert refused.message.startswith("Too many calls: try again in ")
    assert (await failing(wire, "task.delete_attachment", NO_TASK, f"{instance}-2")).reason == "TASK_NOT_FOUND"


# The items of these count for the limit of the method that does the same for one.
BATCHES = {"BatchCreateAttachments": "CreateAttachment", "BatchDeleteAttachments": "DeleteAttachment"}


def test_every_method_has_a_setting() -> None:
    assert {BATCHES.get(name, name) for name in METHODS.values()} == set(SETTINGS)


@pytest.mark.parametrize("path", METHODS)
async def test_calls_count_whatever_becomes_of_them(site: Site, instance: str, path: str) -> None:
    bodies = (b"", b"\xff", b"", b"")  # nothing that is required; not even a message
    found = [await grpc_call(site.channels[0], path, body, {"x-instance-id": instance}) for body in bodies]
    assert REFUSED not in found[:LIMIT]
    assert found[LIMIT] == REFUSED


async def test_the_items_of_a_batch_count_one_by_one(jsonrpc: JsonRpcWire, instance: str) -> None:
    item = {"jsonrpc": "2.0", "method": "task.delete_attachment", "params": NO_TASK}
    answers = json.loads(
        await jsonrpc.post(json.dumps([item | {"id": n} for n in range(LIMIT + 2)]), instance=instance)
    )
    assert Counter(answer["error"]["code"] for answer in answers) == {INVALID_PARAMS: LIMIT, RATE_LIMITED: 2}


async def test_the_items_of_a_batch_of_deletions_count_one_by_one(wire: Wire, instance: str) -> None:
    requests = [{**NO_TASK, "key": f"k{number}"} for number in range(LIMIT - 1)]
    done = await wire.call("task.delete_attachments_batch", {"requests": requests}, instance=instance)
    assert {one["error"]["data"]["reason"] for one in done["results"]} == {"TASK_NOT_FOUND"}
    refused = await failing(wire, "task.delete_attachments_batch", {"requests": requests[:2]}, instance)
    assert refused.code == RATE_LIMITED
    assert (await failing(wire, "task.delete_attachment", NO_TASK, instance)).reason == "TASK_NOT_FOUND"
    assert (await failing(wire, "task.delete_attachment", NO_TASK, instance)).code == RATE_LIMITED


async def test_all_servers_count_together(site: Site, http: aiohttp.ClientSession, instance: str) -> None:
    metadata = {"x-instance-id": instance}
    second = JsonRpcWire("jsonrpc", site.urls[1], http)
    assert await grpc_call(site.channels[0], metadata=metadata) != REFUSED
    assert (await failing(second, "task.delete_attachment", NO_TASK, instance)).code == INVALID_PARAMS
    assert await grpc_call(site.channels[1], metadata=metadata) != REFUSED
    assert await grpc_call(site.channels[0], metadata=metadata) == REFUSED
    assert (await failing(second, "task.delete_attachment", NO_TASK, instance)).code == RATE_LIMITED


async def test_a_hundred_callers_at_once_are_each_given_their_share(site: Site, instance: str) -> None:
    names = [f"{instance}-{number}" for number in range(20)] * (LIMIT + 2)
    calls = (grpc_call(site.channels[n % 2], metadata={"x-instance-id": name}) for n, name in enumerate(names))
    refused = Counter(name for name, code in zip(names, await asyncio.gather(*calls), strict=True) if code == REFUSED)
    assert set(refused.values()) == {2}
    assert len(refused) == 20


async def test_after_the_time_that_it_was_told_a_caller_may_call_again(wires: dict[str, Wire], instance: str) -> None:
    async def wait_it_out(wire: Wire) -> None:
        caller = f"{instance}-{wire.name}"
        for _ in range(LIMIT):
            assert (await failing(wire, "task.get_attachment", NO_TASK, caller)).reason == "TASK_NOT_FOUND"
        refused = await failing(wire, "task.get_attachment", NO_TASK, caller)
        assert refused.reason == "RATE_LIMITED"
        assert 0 < refused.data["retryAfterMs"] <= SHORT_SECONDS * 1000 + 1
        await asyncio.sleep(refused.data["retryAfterMs"] / 1000)
        assert (await failing(wire, "task.get_attachment", NO_TASK, caller)).reason == "TASK_NOT_FOUND"

    await asyncio.gather(*map(wait_it_out, wires.values()))


async def test_a_window_is_one_key_that_goes_away(site: Site, instance: str) -> None:
    await grpc_call(site.channels[0], metadata={"x-instance-id": instance})
    async with Redis.from_url(site.valkey.url, decode_responses=True) as redis:
        keys = [key async for key in redis.scan_iter(f"*{instance}*")]
        assert keys == [f"{KEY_PREFIX}:LIMITER/DeleteAttachment/instance/{instance}/{LIMIT}/1/minute"]
        assert 50 < await redis.ttl(keys[0]) <= 60


async def test_none_is_no_limit(server: Service, http: aiohttp.ClientSession, instance: str) -> None:
    unlimited = JsonRpcWire("jsonrpc", server.url, http)
    item = {"jsonrpc": "2.0", "method": "task.delete_attachment", "params": NO_TASK}
    for _ in range(2):
        body = json.dumps([item | {"id": n} for n in range(100)])
        answers = json.loads(await unlimited.post(body, instance=instance))
        assert {answer["error"]["code"] for answer in answers} == {INVALID_PARAMS}
