"""Nobody calls without credentials, and who has shown some is who they say."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from redis.asyncio import Redis

from affix.v1 import attachments_pb2, tasks_pb2
from affix_server.auth.permissions import METHOD_SCOPES
from tests.auth.conftest import CallAs
from tests.auth.site import CHANGES, NOT_ALLOWED, Guarded, People, every_call, new_token, outcome, refused
from tests.harness.grpc_messages import METHODS
from tests.harness.grpc_wire import DEADLINE_SECONDS, GrpcWire
from tests.harness.jsonrpc_wire import JsonRpcWire


def test_every_method_is_tried_here() -> None:
    assert {*every_call("t"), "task.list"} == set(METHODS)
    services = (
        attachments_pb2.DESCRIPTOR.services_by_name["AttachmentService"],
        tasks_pb2.DESCRIPTOR.services_by_name["TaskService"],
    )
    assert {method.name for service in services for method in service.methods} == set(METHOD_SCOPES)


@pytest.mark.parametrize("method", [*every_call("t"), "task.list"])
async def test_without_credentials_there_is_no_answer(call_as: CallAs, owned: str, method: str) -> None:
    error = await refused(call_as(None), method, every_call(owned).get(method, {}), instance="owner")
    assert (error.code, error.reason) == (NOT_ALLOWED, "UNAUTHENTICATED")
    assert error.message == "Credentials are required: authorization: Bearer and a token"
    assert error.data == {"reason": "UNAUTHENTICATED"}


async def test_nobody_is_told_why_a_token_is_not_valid(call_as: CallAs, people: People, owned: str) -> None:
    other = people.other.split("_")
    wrong = [
        people.owner[:-1] + ("A" if people.owner[-1] != "A" else "B"),
        "_".join([*people.owner.split("_")[:2], other[2]]) + "".join(f"_{part}" for part in other[3:]),
        "affix_000000000000_" + "A" * 43,
        "secret",
        "x" * 4000,
        "a.b.c",
    ]
    for token in wrong:
        error = await refused(call_as(token), "task.get", {"id": owned})
        assert (error.code, error.message) == (NOT_ALLOWED, "The token is not valid")
        assert token not in json.dumps(error.data)


async def test_only_bearer_tokens_are_taken_and_one_at_a_time(guarded: Guarded, people: People, owned: str) -> None:
    call: Callable[..., Awaitable[bytes]] = guarded.channel.unary_unary("/affix.v1.TaskService/GetTask")
    body = tasks_pb2.GetTaskRequest(id=owned).SerializeToString()
    good = ("authorization", f"Bearer {people.owner}")
    await call(body, metadata=(good,), timeout=DEADLINE_SECONDS)
    await call(body, metadata=(("authorization", f"bearer {people.owner}"),), timeout=DEADLINE_SECONDS)
    for metadata in (
        (good, good),
        (("authorization", people.owner),),
        (("authorization", f"Basic {people.owner}"),),
        (("authorization", "Bearer "),),
        (("authorization", ""),),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(body, metadata=metadata, timeout=DEADLINE_SECONDS)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_what_does_not_decode_is_not_looked_at_before(guarded: Guarded) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await GrpcWire(guarded.channel).raw("/affix.v1.TaskService/GetTask", b"\xff")
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("method", CHANGES)
async def test_who_may_read_may_not_change(call_as: CallAs, people: People, owned: str, method: str) -> None:
    error = await refused(call_as(people.reader), method, every_call(owned)[method])
    assert (error.code, error.reason, error.message) == (
        NOT_ALLOWED,
        "PERMISSION_DENIED",
        "The scope write is needed",
    )


async def test_who_may_read_reads_everything(call_as: CallAs, people: People, owned: str) -> None:
    for method in sorted({*every_call(owned), "task.list"} - set(CHANGES)):
        assert await outcome(call_as(people.reader), method, every_call(owned).get(method, {})) == "done"


async def test_each_call_of_a_batch_is_judged_by_itself(guarded: Guarded, people: People, owned: str) -> None:
    calls = [("task.get", {"id": owned}), ("task.update", {"id": owned, "updates": {"priority": 2}})]
    body = json.dumps(
        [{"jsonrpc": "2.0", "id": at, "method": name, "params": params} for at, (name, params) in enumerate(calls)]
    )
    for url in guarded.urls.values():
        read, changed = json.loads(await JsonRpcWire("", url, guarded.http, token=people.reader).post(body))
        assert read["result"]["id"] == owned
        assert changed["error"]["data"]["reason"] == "PERMISSION_DENIED"
        nobody = json.loads(await JsonRpcWire("", url, guarded.http).post(body))
        assert [one["error"]["data"]["reason"] for one in nobody] == ["UNAUTHENTICATED"] * 2


async def test_who_wrote_is_who_has_shown_it(call_as: CallAs, people: People, unused: str, redis: Redis) -> None:
    wire = call_as(people.owner)
    await wire.call("task.create", {"id": unused, "text": "a task"}, instance="admin")
    ref = {"taskId": unused, "key": "k"}
    await wire.call("task.create_attachment", {**ref, "type": "text", "content": "c"}, instance="admin")
    assert (await wire.call("task.get", {"id": unused}))["createdBy"] == "owner"
    assert (await wire.call("task.get_attachment", ref))["createdBy"] == "owner"
    # Not even looked at: a bad one is no bad parameter.
    await wire.call("task.delete_attachment", ref, instance="x" * 129)
    newest: Any = await redis.xrevrange("cb:stream:task.attachment.deleted", count=1)
    ((_, fields),) = newest
    event = json.loads(fields["data"])
    assert (event["payload"]["taskId"], event["metadata"]["deletedBy"]) == (unused, "owner")


async def test_limits_are_those_of_the_principal(guarded: Guarded, call_as: CallAs, unused: str) -> None:
    first, second = (new_token(guarded.tokens, f"limited-{unused}", "write") for _ in range(2))
    # As of a second ago, the server may not have seen them.
    await _known(call_as, first)
    await _known(call_as, second)
    answers = [
        await refused(call_as((first, second)[at % 2]), "task.complete", {"id": unused}, instance=f"i-{at}")
        for at in range(21)
    ]
    assert [error.reason for error in answers] == ["TASK_NOT_FOUND"] * 20 + ["RATE_LIMITED"]


async def _known(call_as: CallAs, token: str) -> None:
    while await outcome(call_as(token), "task.list", {"limit": 1}) == "UNAUTHENTICATED":
        pass


async def test_health_is_open(guarded: Guarded) -> None:
    health: Callable[..., Awaitable[bytes]] = guarded.channel.unary_unary("/grpc.health.v1.Health/Check")
    assert await health(b"", timeout=DEADLINE_SECONDS) == b"\x08\x01"
    for url in guarded.urls.values():
        for path in ("/healthz", "/readyz"):
            async with guarded.http.get(url + path) as answer:
                assert answer.status == 200


async def test_no_token_is_in_a_log(guarded: Guarded, people: People, owned: str) -> None:
    for token in (people.owner, "affix_000000000000_" + "A" * 43):
        for name in ("grpc", "jsonrpc", "jsonrpc-shim"):
            await outcome(guarded.wire(name, token), "task.get", {"id": owned})
    logged = guarded.log.read_text() + guarded.shim_log.read_text() + guarded.tokens.read_text()
    secrets = {token.split("_", 2)[2] for token in vars(people).values()} | {"A" * 43}
    assert [secret for secret in secrets if secret in logged] == []
    assert re.search(r'"sha256":"[0-9a-f]{64}"', logged)
