"""grpc.health.v1 as computed from the stores, with stores that are only said to be there."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from affix_server.handlers import Interceptors, method_handlers
from affix_server.health import HealthServicer, Usable

SERVICE = "affix.v1.AttachmentService"
UP, DOWN, UNKNOWN = (
    health_pb2.HealthCheckResponse.SERVING,
    health_pb2.HealthCheckResponse.NOT_SERVING,
    health_pb2.HealthCheckResponse.SERVICE_UNKNOWN,
)


@dataclass
class Health:
    """A health service on a port, and what its stores say."""

    server: grpc.aio.Server
    servicer: HealthServicer
    channel: grpc.aio.Channel
    stores: dict[str, bool] = field(default_factory=lambda: {"postgres": True, "redis": True})

    async def check(self, name: str) -> int:
        call = self.channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        return int((await call(health_pb2.HealthCheckRequest(service=name), timeout=5)).status)

    def watch(self, name: str) -> Any:
        call = self.channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        return call(health_pb2.HealthCheckRequest(service=name), timeout=20)


@pytest.fixture
async def health() -> AsyncIterator[Health]:
    said: dict[str, bool] = {}

    def tells(name: str) -> Usable:
        async def usable() -> bool:
            return said[name]

        return usable

    servicer = HealthServicer([SERVICE], {name: tells(name) for name in ("postgres", "redis")})
    service = health_pb2.DESCRIPTOR.services_by_name["Health"]
    server = grpc.aio.server()
    handlers = method_handlers(service, servicer, Interceptors())
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        opened = Health(server, servicer, channel)
        said.update(opened.stores)
        opened.stores = said
        yield opened
    await server.stop(0)


@pytest.mark.parametrize(
    ("postgres", "redis", "serving"), [(True, True, UP), (True, False, UP), (False, True, UP), (False, False, DOWN)]
)
async def test_the_service_serves_while_a_store_does(health: Health, postgres: bool, redis: bool, serving: int) -> None:  # noqa: FBT001 - the parameters of a table
    health.stores.update(postgres=postgres, redis=redis)
    assert [await health.check(name) for name in ("", SERVICE)] == [serving, serving]
    assert [await health.check(name) for name in ("postgres", "redis")] == [
        UP if up else DOWN for up in (postgres, redis)
    ]


async def test_another_name_is_not_found(health: Health) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await health.check("mysql")
    assert failed.value.code() is grpc.StatusCode.NOT_FOUND
    assert (await health.watch("mysql").read()).status == UNKNOWN


async def test_a_list_holds_everything(health: Health) -> None:
    health.stores["redis"] = False
    call: Callable[..., Awaitable[bytes]] = health.channel.unary_unary("/grpc.health.v1.Health/List")
    listed: Any = health_pb2.HealthListResponse.FromString(await call(b"", timeout=5))  # type: ignore[attr-defined] # not in its stubs
    statuses = {name: response.status for name, response in listed.statuses.items()}
    assert statuses == {"": UP, SERVICE: UP, "postgres": UP, "redis": DOWN}


async def test_a_watch_tells_of_each_change_once(health: Health) -> None:
    watch = health.watch("redis")
    told = [(await watch.read()).status]
    for up in (False, True):
        health.stores["redis"] = up
        told.append((await watch.read()).status)
    assert told == [UP, DOWN, UP]


async def test_draining_serves_nothing_and_ends_watches(health: Health) -> None:
    watch = health.watch("")
    assert (await watch.read()).status == UP
    health.servicer.drain()
    assert [await health.check(name) for name in ("", SERVICE, "postgres")] == [DOWN, DOWN, UP]
    assert (await watch.read()).status == DOWN
    assert await watch.read() is grpc.aio.EOF


async def test_a_watch_does_not_hold_up_the_end(health: Health) -> None:
    watch = health.watch("redis")
    assert (await watch.read()).status == UP
    began = time.monotonic()
    health.servicer.drain()
    await health.server.stop(10)
    assert time.monotonic() - began < 1
