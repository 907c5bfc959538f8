"""Clients over both wires that create, overwrite, get, delete, list and batch, and write down what they saw."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tests.faults.clients import BrokenError, LateError, NotSentError
from tests.faults.cluster import CLIENT_SECONDS, Cluster
from tests.faults.history import Asked, History, Identity, Item, Operation, Outcome
from tests.harness.wire import CallError, Result

KINDS = {"create": 30, "get": 30, "delete": 10, "list": 15, "batch": 15}
METHODS = {
    "create": "task.create_attachment",
    "get": "task.get_attachment",
    "delete": "task.delete_attachment",
    "list": "task.list_attachments",
    "batch": "task.get_attachments_batch",
}
# The type of a key is fixed, but for the last one's: a change of type moves a key between indexes.
KEYS = {"note": ("text",), "result": ("json",), "page": ("markdown",), "any": ("text", "json", "markdown")}
_HOT, _COLD = "note", 0.5
_THINK_SECONDS = 0.02
# Answers that say for certain that nothing was done.
_REFUSALS = frozenset({"INVALID_PARAMS", "RATE_LIMITED"})


class Workload:
    """Some clients at work on some tasks; `history` is what they did and saw."""

    def __init__(self, cluster: Cluster, tasks: Sequence[str], *, seed: str) -> None:
        """Work on tasks that are registered and have no attachments."""
        self.history = History({task: tuple(KEYS) for task in tasks})
        self._cluster = cluster
        self._tasks = tasks
        self._seed = seed
        self._values = itertools.count(1)

    async def work(self, name: str, stop: asyncio.Event) -> None:
        """Be one client until told to stop; the last call is finished."""
        chance = random.Random(f"{self._seed} {name}")  # noqa: S311 - replayed, not secret
        while not stop.is_set():
            kind = chance.choices(list(KINDS), list(KINDS.values()))[0]
            await self.call(self._operation(kind, chance), chance)
            await asyncio.sleep(chance.uniform(0, _THINK_SECONDS))

    async def look(self) -> None:
        """Read every key and list once from every server over every wire."""
        chance = random.Random()  # noqa: S311 - it decides on nothing here
        for server in self._cluster.servers:
            for wire in server.clients:
                for task in self._tasks:
                    client = f"look {wire} {server.name}"
                    gets = [Operation(client, "get", task, (key,), 0) for key in KEYS]
                    for operation in (*gets, Operation(client, "list", task, (), 0)):
                        await self.call(operation, chance, via=(server.name, wire))

    def _operation(self, kind: str, chance: random.Random) -> Operation:
        # Half of all calls meet on one key: what goes wrong needs several at once.
        task, keys = self._tasks[0], (_HOT,)
        if chance.random() < _COLD:
            task, keys = chance.choice(self._tasks), (chance.choice(list(KEYS)),)
        operation = Operation("", kind, task, keys, 0)
        match kind:
            case "create":
                operation.value = f"{chance.choice(KEYS[keys[0]])}:{next(self._values)}"
            case "batch":
                operation.keys = tuple(chance.sample(list(KEYS), chance.randint(1, len(KEYS))))
            case "list":
                operation.keys = ()
                whole, typed = Asked(), Asked(type=chance.choice(KEYS["any"]))
                part = Asked(limit=chance.randint(1, 3), offset=chance.randint(0, 3))
                operation.asked = chance.choices((whole, typed, part), (3, 1, 1))[0]
        return operation

    async def call(self, operation: Operation, chance: random.Random, via: tuple[str, str] | None = None) -> None:
        """Call and write down what came back; by any server and wire, unless told which."""
        server = chance.choice(self._cluster.servers)
        wire = chance.choice(list(server.clients))
        if via is not None:
            server = next(each for each in self._cluster.servers if each.name == via[0])
            wire = via[1]
        operation.client = operation.client or f"{wire} {server.name}"
        self.history.operations.append(operation)
        operation.called = time.monotonic()
        try:
            result = await server.clients[wire].call(METHODS[operation.kind], params(operation), CLIENT_SECONDS)
        except CallError as error:
            _failed(operation, error)
        except NotSentError:
            operation.outcome, operation.error = Outcome.REFUSED, "not sent: no connection"
        except BrokenError as error:
            operation.error = f"broken: {error}"
        except LateError:
            operation.late, operation.error = True, "late"
        else:
            operation.outcome = Outcome.OK
            _succeeded(operation, result)
        operation.returned = time.monotonic()


def params(operation: Operation) -> dict[str, Any]:
    """Return the parameters of a call, in JSON-RPC's names."""
    match operation.kind:
        case "create":
            type_, _, text = (operation.value or "").partition(":")
            content = {"value": text} if type_ == "json" else {"content": text}
            return {"taskId": operation.task, "key": operation.keys[0], "type": type_, **content}
        case "list":
            asked = operation.asked
            typed = {} if asked.type is None else {"type": asked.type}
            return {"taskId": operation.task, "limit": asked.limit, "offset": asked.offset, **typed}
        case "batch":
            return {"requests": [{"taskId": operation.task, "key": key} for key in operation.keys]}
    return {"taskId": operation.task, "key": operation.keys[0]}


def _failed(operation: Operation, error: CallError) -> None:
    operation.error = f"{error.code} {error.reason}"
    if error.reason == "ATTACHMENT_NOT_FOUND":
        operation.outcome = Outcome.NOT_FOUND
        operation.absent = error.data["key"]
    elif error.reason in _REFUSALS:
        operation.outcome = Outcome.REFUSED


def _succeeded(operation: Operation, result: Result) -> None:
    operation.pending = result.get("durability") == "pending"
    operation.revision = result.get("revision")
    match operation.kind:
        case "create":
            operation.identity = _identity(result)
        case "delete":
            operation.deleted_id = result["id"]
        case "get":
            operation.items = (_item(result),)
        case "batch":
            operation.items = tuple(map(_item, result["attachments"]))
        case "list":
            operation.items = tuple(map(_item, result["attachments"]))
            operation.total_count, operation.has_more = result["totalCount"], result["hasMore"]
            operation.degraded = result.get("degraded", False)


def _item(attachment: Result) -> Item:
    content = attachment["value"] if attachment["type"] == "json" else attachment["content"]
    text = content.strip('"') if attachment["type"] == "json" else content
    return Item(attachment["key"], f"{attachment['type']}:{text}", _identity(attachment))


def _identity(answer: Result) -> Identity:
    return Identity(answer["id"], round(datetime.fromisoformat(answer["createdAt"]).timestamp() * 1000))
