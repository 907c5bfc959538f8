"""The documented task, fresh for every test, and /rpc of both kinds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.harness.grpc_wire import GrpcWire
from tests.harness.jsonrpc_wire import JsonRpcWire
from tests.harness.wire import CallError
from tests.spec.pages import INSTANCE, TASK

Send = Callable[[str], Awaitable[Any]]
# What the service adds to what it is given.
_MADE = ("id", "createdBy", "createdAt", "updatedAt")
Attach = Callable[[dict[str, Any]], Awaitable[None]]


@pytest.fixture
async def no_task(grpc_wire: GrpcWire) -> str:
    """The id of the documented task, which nobody has registered."""
    try:
        await grpc_wire.call("task.delete", {"id": TASK})
    except CallError as error:
        if error.reason != "TASK_NOT_FOUND":
            raise
    return TASK


@pytest.fixture
async def documented_task(no_task: str, grpc_wire: GrpcWire) -> str:
    """The id of the documented task, registered and without attachments."""
    await grpc_wire.call("task.create", {"id": no_task, "text": "Speed up the queries"})
    return no_task


@pytest.fixture
def send(jsonrpc: JsonRpcWire) -> Send:
    """Send a request as it is written, and return the answer parsed."""

    async def send_as_written(request: str) -> Any:
        return json.loads(await jsonrpc.post(request, instance=INSTANCE))

    return send_as_written


@pytest.fixture
def attach(jsonrpc: JsonRpcWire, documented_task: str) -> Attach:
    """Create what a page shows as stored."""

    async def create(shown: dict[str, Any]) -> None:
        given = {name: value for name, value in shown.items() if name not in _MADE}
        assert given["taskId"] == documented_task
        await jsonrpc.call("task.create_attachment", given, instance=INSTANCE)
        # What the pages show was created one after the other; a millisecond is all that times tell apart.
        await asyncio.sleep(0.003)

    return create
