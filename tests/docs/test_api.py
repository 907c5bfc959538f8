"""docs/api.md: its tables are those of the service, its events are those that go out."""

from __future__ import annotations

import json
import re
from typing import Any

from msgspec import Raw
from redis.asyncio import Redis

from affix_server import json_text, validation
from affix_server.domain import EventKind
from affix_server.storage.redis import names
from affix_shim import jsonrpc
from affix_shim.methods import METHODS
from affix_shim.params import Params
from affix_shim.requests import STATUSES, TYPES
from tests.docs.commands import shown_as
from tests.docs.pages import ROOT, blocks, read, table
from tests.harness.grpc_errors import TABLE
from tests.harness.grpc_wire import GrpcWire
from tests.harness.jsonrpc_wire import JsonRpcWire
from tests.harness.samples import SAMPLES, create, delete

PAGE = "docs/api.md"
_NAME = re.compile(r"\b[a-z]+[A-Za-z]*\b")
_RAISED = re.compile(r"\b(?:raise |end\()(\w+)Error\b")


class _Recorded(Params):
    """Parameters that are all absent; notes which are asked for."""

    __slots__ = ("asked",)

    def __init__(self) -> None:
        super().__init__(Raw(b"{}"), {}, [], "")
        self.asked: set[str] = set()

    def raw(self, name: str, *, required: bool = False) -> Raw | None:
        self.asked.add(name)
        return super().raw(name, required=required)

    def ignore(self, names: Any) -> None:
        self.asked.update(names)


def _names(cell: str) -> list[str]:
    return [name for name in _NAME.findall(cell) if name not in {"an", "a", "or"}]


def test_the_parameters_are_those_that_are_read() -> None:
    documented = {
        method: set(_names(parameters)) for method, parameters, _ in table(PAGE, "method", "parameters", "result")
    }
    read_by = {}
    for name, method in METHODS.items():
        params = _Recorded()
        method.decode(params)
        read_by[name] = params.asked
    assert documented == read_by


def test_what_may_be_left_out_is_what_is_not_missed() -> None:
    for method, parameters, _ in table(PAGE, "method", "parameters", "result"):
        params = _Recorded()
        METHODS[method].decode(params)
        missed = {violation.field for violation in params.violations}
        needed = {name for name in _names(parameters) if f"{name}?" not in parameters}
        assert needed - {"taskId"} == missed - {"taskId"} if method == "task.complete" else needed == missed, method


async def test_the_results_have_the_members_of_the_table(jsonrpc_wires: dict[str, JsonRpcWire], task: str) -> None:
    wire = jsonrpc_wires["jsonrpc"]
    ref = {"taskId": task, "key": "k"}
    calls: dict[str, dict[str, Any]] = {
        "task.create": {"text": "a test"},
        "task.create_attachment": {**ref, **SAMPLES["text"]},
        "task.get_attachment": ref,
        "task.list_attachments": {"taskId": task},
        "task.get_attachments_batch": {"requests": [ref]},
        "task.delete_attachment": ref,
        "task.create_attachments_batch": {"requests": [{**ref, **SAMPLES["text"]}]},
        "task.delete_attachments_batch": {"requests": [ref]},
        "task.update": {"id": task, "updates": {"writers": ["w"]}},
        "task.complete": {"id": task, "workerId": "w"},
        "task.get": {"id": task},
        "task.list": {"limit": 1},
        "task.delete": {"id": task},
    }
    results = {method: await wire.call(method, params) for method, params in calls.items()}
    for method, _, members in table(PAGE, "method", "parameters", "result"):
        if members.startswith(("an ", "a ")):
            whole = _bold(members.capitalize())
            assert set(results[method]) - {"content"} == whole, method
        else:
            assert list(results[method]) == _names(members), method


def _bold(what: str) -> set[str]:
    """The members that the page lists after `**An attachment** is`."""
    (sentence,) = re.findall(rf"\*\*{what}\*\* is (.*?)\.\s", read(PAGE), re.DOTALL)
    return set(re.findall(r"`(\w+)`", sentence))


def test_the_words_are_all_of_them() -> None:
    types = {name for names, _, _ in table(PAGE, "type", "content", "rule") for name in names.split(", ")}
    assert types == set(TYPES)
    (statuses,) = re.findall(r"^Statuses are (.*?)\.", read(PAGE), re.MULTILINE)
    assert re.findall(r"`(\w+)`", statuses) == list(STATUSES)


def test_the_limits_are_those_that_are_checked() -> None:
    most = [int(row[2]) for row in table(PAGE, "what", "least", "most", "when left out")]
    assert most == [
        validation.MAX_TASK_ID,
        validation.MAX_KEY,
        validation.MAX_TASK_TEXT,
        validation.MAX_PRIORITY,
        validation.MAX_LIST,
        validation.MAX_TASK_LIST,
        validation.MAX_BATCH,
        validation.MAX_TTL_SECONDS,
        validation.MAX_NAME,
        validation.MAX_WRITERS,
        jsonrpc.MAX_BATCH,
    ]
    assert f"at most {validation.MAX_URL} characters" in read(PAGE)
    assert f"at most {json_text.MAX_DEPTH} levels deep" in read(PAGE)


def test_the_errors_are_those_that_the_scenarios_know() -> None:
    for reason, _, status, code in table(PAGE, "reason", "when", "gRPC", "JSON-RPC"):
        assert (status, int(code)) == (TABLE[reason][0].name, TABLE[reason][1])


def test_every_error_that_the_server_raises_is_there() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "server/affix_server").rglob("*.py"))
    known = {"".join(word.title() for word in reason.split("_")): reason for reason in TABLE}
    raised = {known[name] for name in _RAISED.findall(sources) if name in known}
    documented = {row[0] for row in table(PAGE, "reason", "when", "gRPC", "JSON-RPC")}
    assert documented == raised | {"INTERNAL"}  # which is whatever else is raised


def test_the_events_that_watchers_are_told_of_are_there() -> None:
    rows = table(PAGE, "event", "what happened", "members beside type")
    assert {kind for kinds, _, _ in rows for kind in kinds.split(", ")} == {kind.value for kind in EventKind}


async def test_the_events_are_those_that_go_out(no_task: str, grpc_wire: GrpcWire, redis: Redis) -> None:
    await grpc_wire.call("task.create", {"id": no_task, "text": "Review the design"})
    await create(grpc_wire, no_task, "analysis", SAMPLES["json"])
    await delete(grpc_wire, no_task, "analysis")
    await grpc_wire.call("task.update", {"id": no_task, "updates": {"status": "in_progress"}})
    await grpc_wire.call("task.complete", {"id": no_task})
    await grpc_wire.call("task.delete", {"id": no_task})
    lines = [block.text.splitlines() for block in blocks(PAGE) if block.language == "json" and not block.follows]
    for line in lines[-1]:
        newest: Any = await redis.xrevrange(f"cb:stream:{json.loads(line)['type']}", count=1)
        ((_, fields),) = newest
        assert fields.keys() == {"data", "revision"}
        assert shown_as(line).fullmatch(fields["data"]), fields["data"]
    streams = {key async for key in redis.scan_iter("cb:stream:*")}
    assert streams == {names.WATCHED, *(f"cb:stream:{json.loads(line)['type']}" for line in lines[-1])}
