"""How long a watch may last, and how often one may begin; within the process as over the network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry

from affix.v1 import attachments_pb2 as pb
from affix.v1.attachments_pb2_grpc import AttachmentServiceStub
from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from affix_server.app import Server, open_server
from affix_server.config import Settings
from affix_server.storage import watching
from tests.harness.service import Service

_OPERATION_SECONDS = 1.0
_WATCH = "/affix.v1.AttachmentService/WatchAttachments"
_ENDED = {"grpc_type": "server_stream", "grpc_service": "affix.v1.AttachmentService", "grpc_method": "WatchAttachments"}


@pytest.fixture(scope="module")
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture(scope="module")
async def opened(
    postgres_store: EmbeddedPostgres, valkey_store: EmbeddedValkey, server: Service, registry: CollectorRegistry
) -> AsyncIterator[Server]:
    assert server.command.running  # it has migrated the database
    settings = Settings(
        grpc_listen="127.0.0.1:0",
        postgres_dsn=postgres_store.dsn,
        redis_url=valkey_store.url,
        operation_timeout_seconds=_OPERATION_SECONDS,
        watch_rate_limit="3/hour",
    )
    async with open_server(settings, registry) as running:
        yield running


@pytest.fixture(params=["local", "network"])
async def stub(request: pytest.FixtureRequest, opened: Server) -> AsyncIterator[Any]:
    if request.param == "local":
        yield AttachmentServiceStub(opened.channel)
        return
    async with grpc.aio.insecure_channel(opened.grpc_address) as channel:
        yield AttachmentServiceStub(channel)


def _as(instance: str) -> tuple[tuple[str, str], ...]:
    return (("x-instance-id", instance),)


async def test_a_watch_may_last_longer_than_an_operation(
    stub: Any, monkeypatch: pytest.MonkeyPatch, registry: CollectorRegistry, task: str, absent_task: str
) -> None:
    monkeypatch.setattr(watching, "PROGRESS_SECONDS", 1.2 * _OPERATION_SECONDS)
    call = stub.WatchAttachments(pb.WatchAttachmentsRequest(task_id=absent_task), metadata=_as(absent_task))
    kinds = aiter(call)
    assert (await anext(kinds)).kind == pb.ATTACHMENT_EVENT_KIND_STARTED
    assert registry.get_sample_value("affix_watchers") == 1
    await stub.CreateAttachment(pb.CreateAttachmentRequest(task_id=task, key="k", text=pb.TextContent(content="x")))
    assert (await anext(kinds)).kind == pb.ATTACHMENT_EVENT_KIND_PROGRESS
    call.cancel()


async def test_a_deadline_of_the_caller_holds(stub: Any, absent_task: str) -> None:
    call = stub.WatchAttachments(
        pb.WatchAttachmentsRequest(task_id=absent_task), timeout=0.3, metadata=_as(absent_task)
    )
    kinds = aiter(call)
    assert (await anext(kinds)).kind == pb.ATTACHMENT_EVENT_KIND_STARTED
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await anext(kinds)
    assert ended.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_beginning_to_watch_has_a_limit(stub: Any, registry: CollectorRegistry, absent_task: str) -> None:
    def refused() -> float:
        return (
            registry.get_sample_value("grpc_server_handled_total", {**_ENDED, "grpc_code": "RESOURCE_EXHAUSTED"}) or 0.0
        )

    before = refused()
    for _ in range(3):
        call = stub.WatchAttachments(pb.WatchAttachmentsRequest(task_id=absent_task), metadata=_as(absent_task))
        await anext(aiter(call))
        call.cancel()
    call = stub.WatchAttachments(pb.WatchAttachmentsRequest(task_id=absent_task), metadata=_as(absent_task))
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await anext(aiter(call))
    assert ended.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "Too many calls" in (ended.value.details() or "")
    assert refused() == before + 1


async def test_what_does_not_decode_is_refused(opened: Server) -> None:
    async with grpc.aio.insecure_channel(opened.grpc_address) as channel:
        watch: Any = channel.unary_stream(_WATCH)
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await anext(aiter(watch(b"\xff\xff", metadata=_as("undecodable"))))
        assert ended.value.code() is grpc.StatusCode.INVALID_ARGUMENT
