"""Each cap refuses one too many, with the limit and the figure, and takes the next one when there is room again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from prometheus_client import CollectorRegistry

from affix.v1 import attachments_pb2 as pb
from affix.v1.attachments_pb2_grpc import AttachmentServiceStub
from affix.v1.tasks_pb2 import GetTaskRequest
from affix.v1.tasks_pb2_grpc import TaskServiceStub
from affix_cli import http
from affix_cli.connections import Bounds
from affix_server.app import open_server
from affix_server.config import Settings
from affix_server.errors import TaskNotFoundError
from affix_server.services.tasks import TaskServicer
from affix_shim.app import make_app
from tests.harness.service import serving
from tests.hostile import frames
from tests.hostile.test_connections import HEALTH

CALLS, BATCH, WATCHERS, WATCHERS_EACH, CONNECTIONS = 2, 3, 3, 2, 4
TASK = '{"jsonrpc":"2.0","id":1,"method":"task.get","params":{"id":"t-none"}}'


class Held:
    """GetTask, which is answered when the test says so."""

    def __init__(self) -> None:
        self.begun = asyncio.Semaphore(0)
        self.let_go = asyncio.Event()


class Edge:
    """A server in this process; `over_…` gets a task that is not there and returns what is said."""

    def __init__(self, grpc_address: str, url: str, channel: grpc.aio.Channel, session: aiohttp.ClientSession) -> None:
        self.grpc_address = grpc_address
        self.url = url
        self.channel = channel
        self.session = session

    async def over_grpc(self) -> str:
        stub: Any = TaskServiceStub(self.channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetTask(GetTaskRequest(id="t-none"))
        return refused.value.details() or ""

    async def over_http(self) -> str:
        return str((await self.post(TASK))["error"]["message"])

    async def post(self, body: str) -> Any:
        async with self.session.post(f"{self.url}/rpc", data=body, headers={"content-type": "application/json"}) as got:
            return json.loads(await got.text())


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    held = Held()

    async def get_task(_servicer: TaskServicer, request: GetTaskRequest, _context: Any) -> Any:
        held.begun.release()
        await held.let_go.wait()
        raise TaskNotFoundError(request.id)

    monkeypatch.setattr(TaskServicer, "GetTask", get_task)
    return held


@pytest.fixture
async def edge(stores: dict[str, str], held: Held) -> AsyncIterator[Edge]:
    assert not held.let_go.is_set()  # it is in the servicer's place before there is a server
    settings = Settings(
        grpc_listen="127.0.0.1:0",
        postgres_dsn=stores["AFFIX_POSTGRES_DSN"],
        redis_url=stores["AFFIX_REDIS_URL"],
        max_concurrent_calls=CALLS,
        max_watchers=WATCHERS,
        max_watchers_per_caller=WATCHERS_EACH,
    )

    async def no_metrics() -> bytes:
        return b""

    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(open_server(settings, CollectorRegistry()))
        app = make_app(server.channel, metrics=no_metrics, max_batch=BATCH)
        site = await stack.enter_async_context(
            http.serving(app, "127.0.0.1:0", grace_seconds=1, bounds=Bounds(connections=CONNECTIONS))
        )
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.grpc_address))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Edge(server.grpc_address, f"http://{site.address}", channel, session)


async def test_calls_over_both_wires_together(edge: Edge, held: Held) -> None:
    ways: list[Callable[[], Awaitable[str]]] = [edge.over_grpc, edge.over_http]
    under_way = [asyncio.ensure_future(way()) for way in ways]
    for _ in under_way:
        await held.begun.acquire()
    for way in ways:
        assert await way() == "Too many calls at the same time: 3, at most 2 are allowed"
    refused = (await edge.post(TASK))["error"]
    assert (refused["code"], refused["data"]) == (
        -32000,
        {"taskId": "t-none", "limit": 2, "actual": 3, "reason": "LIMIT_EXCEEDED"},
    )
    held.let_go.set()
    assert await asyncio.gather(*under_way) == ["Task t-none not found"] * 2
    for way in ways * 3:
        assert await way() == "Task t-none not found"


async def test_a_call_that_is_given_up_makes_room(edge: Edge, held: Held) -> None:
    stub: Any = TaskServiceStub(edge.channel)
    calls = [stub.GetTask(GetTaskRequest(id="t-none")) for _ in range(CALLS)]
    for _ in calls:  # in whatever order
        await held.begun.acquire()
    for call in calls:
        call.cancel()
    held.let_go.set()
    # The server hears of it a moment later.
    while await edge.over_grpc() != "Task t-none not found":
        pass


async def test_requests_of_a_batch(edge: Edge, held: Held) -> None:
    held.let_go.set()
    one = '{"jsonrpc":"2.0","id":1,"method":"nothing"}'
    refused = await edge.post(f"[{','.join([one] * (BATCH + 1))}]")
    assert refused["error"]["message"] == "Invalid Request: a batch must hold 1 to 3 requests, not 4"
    assert len(await edge.post(f"[{','.join([one] * BATCH)}]")) == BATCH


async def test_watchers_of_one_caller_and_in_all(edge: Edge) -> None:
    stub: Any = AttachmentServiceStub(edge.channel)

    def watch(caller: str) -> Any:
        return stub.WatchAttachments(pb.WatchAttachmentsRequest(), metadata=(("x-instance-id", caller),))

    async def refusal(caller: str) -> str | None:
        call = watch(caller)
        try:
            await call.read()
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"
        call.cancel()
        return None

    calls = [watch(caller) for caller in ("a", "a", "b")]
    for call in calls:
        assert (await call.read()).resume_token
    assert await refusal("a") == "RESOURCE_EXHAUSTED: Too many watches of one caller: 3, at most 2 are allowed"
    assert await refusal("b") == "RESOURCE_EXHAUSTED: Too many watches at the same time: 4, at most 3 are allowed"
    async with edge.session.get(f"{edge.url}/events", headers={"x-instance-id": "c"}) as answer:
        assert answer.status == 429
        assert (await answer.json())["error"]["data"] == {"limit": 3, "actual": 4, "reason": "LIMIT_EXCEEDED"}
    calls[0].cancel()
    while await refusal("b") is not None:
        pass
    for call in calls[1:]:
        call.cancel()


async def test_connections_to_http(edge: Edge) -> None:
    host, _, port = edge.url.removeprefix("http://").rpartition(":")
    place = (host, int(port))
    async with AsyncExitStack() as stack:
        for _ in range(CONNECTIONS):
            reader, writer = await stack.enter_async_context(frames.connected(place))
            writer.write(HEALTH)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        for _ in range(3):
            async with frames.connected(place) as (refused, sender):
                sender.write(HEALTH)
                head, _, body = (await refused.read()).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503")
            error = json.loads(body)["error"]
            assert error["message"] == "Too many connections: 5, at most 4 are allowed"
            assert error["data"] == {"limit": 4, "actual": 5, "reason": "LIMIT_EXCEEDED"}
    while True:
        async with frames.connected(place) as (again, sender):
            sender.write(HEALTH)
            if (await again.readline()).startswith(b"HTTP/1.1 200"):
                break


async def test_connections_to_grpc(folder: Path, stores: dict[str, str]) -> None:
    settings = stores | {"AFFIX_MAX_CONNECTIONS": str(CONNECTIONS)}
    async with serving(settings, folder / "connections.log") as service:
        host, _, port = service.grpc_address.rpartition(":")
        place = (host, int(port))

        async def taken(connection: frames.Streams) -> bool:
            connection[1].write(frames.PREFACE + frames.settings())
            try:
                return bool(await connection[0].read(9))
            except ConnectionError:
                return False

        async with AsyncExitStack() as stack:
            for _ in range(CONNECTIONS):
                assert await taken(await stack.enter_async_context(frames.connected(place)))
            async with frames.connected(place) as refused:
                assert not await taken(refused)
        while True:
            async with frames.connected(place) as again:
                if await taken(again):
                    break
