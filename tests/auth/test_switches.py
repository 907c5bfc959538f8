"""What tells of the service beside its methods has a switch of its own."""

from __future__ import annotations

from typing import Any

import aiohttp
import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2

from affix_cli.embedded import EmbeddedValkey
from affix_server.reflection import NAMES
from tests.auth.site import NOT_ALLOWED, Guarded, People, refused
from tests.cli.commands import NOBODY, affix, plain_failure
from tests.harness.grpc_wire import DEADLINE_SECONDS
from tests.harness.openrpc import DOCUMENT
from tests.harness.service import serving, shimming
from tests.harness.wire import METHOD_NOT_FOUND


def _reflection(channel: grpc.aio.Channel, name: str, token: str | None) -> Any:
    """Begin to ask reflection."""
    call = channel.stream_stream(
        f"/{name}/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    metadata = (("authorization", f"Bearer {token}"),) if token is not None else ()
    return call(metadata=metadata, timeout=DEADLINE_SECONDS)


@pytest.mark.parametrize("name", NAMES)
async def test_reflection_for_the_known_alone(guarded: Guarded, people: People, name: str) -> None:
    asking = _reflection(guarded.channel, name, people.reader)
    await asking.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    told = (await asking.read()).list_services_response.service
    assert "affix.v1.TaskService" in [service.name for service in told]
    await asking.done_writing()
    assert await asking.code() is grpc.StatusCode.OK
    for token in (None, "secret"):
        assert await _reflection(guarded.channel, name, token).code() is grpc.StatusCode.UNAUTHENTICATED


async def test_metrics_for_the_known_alone(guarded: Guarded, people: People) -> None:
    await refused(guarded.wire("grpc", None), "task.list", {})
    url = f"{guarded.service.url}/metrics"
    for headers in ({}, {"authorization": "Bearer secret"}, {"authorization": people.reader}):
        async with guarded.http.get(url, headers=headers) as answer:
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    async with guarded.http.get(url, headers={"authorization": f"Bearer {people.reader}"}) as answer:
        assert answer.status == 200
        assert 'grpc_code="UNAUTHENTICATED"' in await answer.text()


async def test_discovery_for_the_known_alone(guarded: Guarded, people: People) -> None:
    batch = [{"jsonrpc": "2.0", "id": number, "method": "rpc.discover"} for number in range(2)]
    url = guarded.service.url
    for headers in ({}, {"authorization": "Bearer secret"}, {"authorization": people.reader}):
        async with guarded.http.post(f"{url}/rpc", json=batch, headers=headers) as answer:
            assert [_refusal(one) for one in await answer.json()] == [(NOT_ALLOWED, "UNAUTHENTICATED")] * 2
        async with guarded.http.ws_connect(f"{url}/ws", headers=headers) as socket:
            await socket.send_json(batch[0])
            assert _refusal(await socket.receive_json()) == (NOT_ALLOWED, "UNAUTHENTICATED")
    headers = {"authorization": f"Bearer {people.reader}"}
    async with guarded.http.post(f"{url}/rpc", json=batch, headers=headers) as answer:
        assert [one["result"] for one in await answer.json()] == [DOCUMENT] * 2
    async with guarded.http.ws_connect(f"{url}/ws", headers=headers) as socket:
        await socket.send_json(batch)
        assert [one["result"] for one in await socket.receive_json()] == [DOCUMENT] * 2


def _refusal(answer: Any) -> tuple[int, str]:
    return answer["error"]["code"], answer["error"]["data"]["reason"]


async def test_what_is_off_is_not_there(guarded: Guarded, valkey_store: EmbeddedValkey) -> None:
    off = dict.fromkeys(("AFFIX_METRICS_ACCESS", "AFFIX_REFLECTION_ACCESS", "AFFIX_DISCOVER_ACCESS"), "off")
    stores = {"AFFIX_POSTGRES_DSN": "none", "AFFIX_REDIS_URL": valkey_store.url}
    async with serving({**stores, **off}, guarded.log.with_name("off.log")) as service:
        async with guarded.http.get(f"{service.url}/metrics") as answer:
            assert answer.status == 404
        await _no_discovery(guarded.http, service.url)
        async with guarded.http.get(f"{service.url}/healthz") as answer:
            assert answer.status == 200
        async with grpc.aio.insecure_channel(service.grpc_address) as channel:
            for name in NAMES:
                assert await _reflection(channel, name, None).code() is grpc.StatusCode.UNIMPLEMENTED
        log = guarded.log.with_name("off-shim.log")
        settings = {"AFFIX_METRICS_ACCESS": "off", "AFFIX_DISCOVER_ACCESS": "off"}
        async with shimming(service.grpc_address, log, settings) as url:
            async with guarded.http.get(f"{url}/metrics") as answer:
                assert answer.status == 404
            await _no_discovery(guarded.http, url)


async def _no_discovery(http: aiohttp.ClientSession, url: str) -> None:
    request = {"jsonrpc": "2.0", "id": 1, "method": "rpc.discover"}
    error = {"code": METHOD_NOT_FOUND, "message": "Method not found", "data": {"method": "rpc.discover"}}
    async with http.post(f"{url}/rpc", json=[request]) as answer:
        assert await answer.json() == [{"jsonrpc": "2.0", "error": error, "id": 1}]
    async with http.ws_connect(f"{url}/ws") as socket:
        await socket.send_json(request)
        assert (await socket.receive_json())["error"] == error


def test_a_shim_cannot_tell_who_reads_its_metrics() -> None:
    done = affix("shim", "--target", NOBODY, AFFIX_METRICS_ACCESS="authenticated")
    assert plain_failure(done) == (
        "affix shim cannot tell who reads its /metrics: AFFIX_METRICS_ACCESS must be open or off, not 'authenticated'"
    )


def test_a_shim_cannot_tell_who_asks_what_there_is() -> None:
    done = affix("shim", "--target", NOBODY, AFFIX_DISCOVER_ACCESS="authenticated")
    assert plain_failure(done) == (
        "affix shim cannot tell who asks for rpc.discover: "
        "AFFIX_DISCOVER_ACCESS must be open or off, not 'authenticated'"
    )
