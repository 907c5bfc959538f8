"""The task that the pages talk about."""

from __future__ import annotations

import pytest

from tests.harness.grpc_wire import GrpcWire
from tests.harness.wire import CallError

TASK = "design-review"


@pytest.fixture
async def no_task(grpc_wire: GrpcWire) -> str:
    """The id of the task, which nobody has registered: as on a fresh machine."""
    try:
        await grpc_wire.call("task.delete", {"id": TASK})
    except CallError as error:
        if error.reason != "TASK_NOT_FOUND":
            raise
    return TASK
