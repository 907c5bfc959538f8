"""Clients over both wires that register, change, complete, read and delete tasks, and write down what they saw.

These tasks have no attachments but the results of their completion: what a deletion takes along is tried in
tests/resilience/scenarios, and the histories of attachments stay simple enough to be judged.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Sequence
from typing import Any

from tests.faults.clients import BrokenError, LateError, NotSentError
from tests.faults.cluster import CLIENT_SECONDS, Cluster
from tests.faults.history import Operation, Outcome, TaskState
from tests.faults.report import impossible_answers
from tests.faults.task_checker import check_task
from tests.harness.wire import CallError

KINDS = {"task.create": 25, "task.get": 35, "task.update": 20, "task.complete": 10, "task.delete": 10}
_THINK_SECONDS = 0.03
_DEFINITE = {
    "TASK_NOT_FOUND": Outcome.NOT_FOUND,
    "CONFLICT": Outcome.PRESENT,
    "INVALID_PARAMS": Outcome.REFUSED,
    "RATE_LIMITED": Outcome.REFUSED,
}


class TaskWorkload:
    """Some clients at work on some tasks, which are absent in the beginning; `operations` is what they did and saw."""

    def __init__(self, cluster: Cluster, tasks: Sequence[str], *, seed: str) -> None:
        """Work on tasks that nobody else knows."""
        self.operations: list[Operation] = []
        self._cluster = cluster
        self._tasks = tasks
        self._seed = seed
        self._texts = itertools.count(1)

    async def begin(self) -> None:
        """Register every task once, while nothing fails: without Postgres nobody could tell that they are absent."""
        for task in self._tasks:
            operation = Operation("", "task.create", task, (), 0, value=f"text-{next(self._texts)}")
            await self._call(operation, self._cluster.servers[0].name, "grpc")

    async def work(self, name: str, stop: asyncio.Event) -> None:
        """Be one client until told to stop; the last call is finished."""
        chance = random.Random(f"{self._seed} {name}")  # noqa: S311 - replayed, not secret
        while not stop.is_set():
            kind = chance.choices(list(KINDS), list(KINDS.values()))[0]
            operation = Operation("", kind, chance.choice(self._tasks), (), 0)
            if kind in {"task.create", "task.update"}:
                operation.value = f"text-{next(self._texts)}"
            server = chance.choice(self._cluster.servers)
            await self._call(operation, server.name, chance.choice(list(server.clients)))
            await asyncio.sleep(chance.uniform(0, _THINK_SECONDS))

    async def look(self) -> None:
        """Read every task once from every server over every wire."""
        for server in self._cluster.servers:
            for wire in server.clients:
                for task in self._tasks:
                    await self._call(Operation("", "task.get", task, (), 0), server.name, wire)

    def violations(self) -> list[str]:
        """Return what no order of the operations explains, and answers that no call of ours may get."""
        found = impossible_answers(self.operations)
        for task in self._tasks:
            contradiction = check_task([each for each in self.operations if each.task == task])
            if contradiction is not None:
                found.append(contradiction)
        return found

    async def _call(self, operation: Operation, server: str, wire: str) -> None:
        """Call and write down what came back."""
        client = next(each for each in self._cluster.servers if each.name == server).clients[wire]
        operation.client = f"{wire} {server}"
        self.operations.append(operation)
        operation.called = time.monotonic()
        try:
            result = await client.call(operation.kind, _params(operation), CLIENT_SECONDS)
        except CallError as error:
            operation.error = f"{error.code} {error.reason}"
            operation.outcome = _DEFINITE.get(error.reason or "", Outcome.UNKNOWN)
        except NotSentError:
            operation.outcome, operation.error = Outcome.REFUSED, "not sent: no connection"
        except BrokenError as error:
            operation.error = f"broken: {error}"
        except LateError:
            operation.late, operation.error = True, "late"
        else:
            operation.outcome = Outcome.OK
            operation.pending = result.get("durability") == "pending"
            if operation.kind == "task.get":
                operation.found = TaskState(result["text"], result["status"] == "completed")
        operation.returned = time.monotonic()


def _params(operation: Operation) -> dict[str, Any]:
    match operation.kind:
        case "task.create":
            return {"id": operation.task, "text": operation.value}
        case "task.update":
            return {"id": operation.task, "updates": {"text": operation.value, "status": "in_progress"}}
        case "task.complete":
            return {"id": operation.task, "result": 1}
    return {"id": operation.task}
