"""A default is what the service takes when the parameter is left out."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from affix_shim.methods import METHODS
from tests.harness import openrpc
from tests.harness.openrpc import resolved
from tests.harness.samples import TEXT
from tests.harness.wire import Wire

# More than fit on a page of the size that is taken when none is said.
_ATTACHMENTS, _TASKS = 60, 110
# What the lists are of, as the parameters that say so; each in place of a name.
_LISTS = {"task.list_attachments": "taskId", "task.list": "assignedTo"}
DEFAULTS = [
    (method, parameter["name"], resolved(parameter["schema"])["default"])
    for method in METHODS
    for parameter in openrpc.METHODS[method]["params"]
    if "default" in resolved(parameter["schema"])
]


@pytest.fixture(scope="module")
async def full(wires: dict[str, Wire]) -> str:
    """The id of a task with many attachments, and the name of a worker that has completed many tasks."""
    wire, name = wires["jsonrpc"], f"t-{secrets.token_hex(8)}"
    await wire.call("task.create", {"text": "x", "id": name})
    requests = [{"taskId": name, "key": f"k-{number}", **TEXT} for number in range(_ATTACHMENTS)]
    await wire.call("task.create_attachments_batch", {"requests": requests})
    for number in range(_TASKS):
        created = await wire.call("task.create", {"text": "x", "priority": number % 3})
        await wire.call("task.complete", {"id": created["id"], "workerId": name})
    return name


@pytest.mark.parametrize(("method", "name", "default"), [one for one in DEFAULTS if one[0] in _LISTS])
async def test_a_list_takes_it(jsonrpc_wires: dict[str, Wire], full: str, method: str, name: str, default: Any) -> None:
    params = {_LISTS[method]: full}
    left_out = await jsonrpc_wires["jsonrpc"].call(method, params)
    assert left_out["hasMore"] or name == "withRevision"
    assert await jsonrpc_wires["jsonrpc"].call(method, {**params, name: default}) == left_out


async def test_a_new_task_takes_it(jsonrpc_wires: dict[str, Wire]) -> None:
    ((name, default),) = [(name, default) for method, name, default in DEFAULTS if method == "task.create"]
    created = await jsonrpc_wires["jsonrpc"].call("task.create", {"text": "x"})
    assert created[name] == default


def test_all_others_are_of_what_can_be_asked_for() -> None:
    others = {(name, default) for method, name, default in DEFAULTS if method not in _LISTS and method != "task.create"}
    # tests/discovery/test_parameters.py: they are read as what is false when left out.
    assert others == {("ifAbsent", False), ("allowMissing", False), ("withRevision", False)}
