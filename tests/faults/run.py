"""A run: rounds of clients at work under faults, each judged before the next begins."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.faults.cluster import Cluster, NotSettledError
from tests.faults.history import History
from tests.faults.injections import INJECTIONS
from tests.faults.linearizability import check
from tests.faults.lists import check_lists
from tests.faults.report import Report, impossible_answers
from tests.faults.schedule import Fault, faults, strike
from tests.faults.task_workload import TaskWorkload
from tests.faults.windows import explain
from tests.faults.workload import Workload

_FAULTS_A_ROUND = 4
_TASKS_A_ROUND = 2
# Of so many clients one works on tasks, in addition.
_CLIENTS_PER_TASK_CLIENT = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run; `longest` bounds how long one fault lasts, in seconds."""

    seed: int
    seconds: float
    faults: tuple[str, ...]
    clients: int = 8
    longest: float = 6.0

    @property
    def pending_possible(self) -> bool:
        """Whether writes may be accepted as pending."""
        return any(name.startswith("postgres") for name in self.faults)


class Run:
    """One run on a cluster; `report` grows as it goes."""

    def __init__(self, cluster: Cluster, plan: Plan, *, say: Callable[[str], None] = lambda _: None) -> None:
        """Say a line a fault."""
        self.report = Report(plan.seed)
        self._cluster = cluster
        self._plan = plan
        self._say = say
        self._rounds: list[tuple[Workload, TaskWorkload]] = []

    async def run(self) -> Report:
        """Run rounds until time is up or something is found, then look at everything once more."""
        schedule = faults(self._plan.seed, self._plan.faults, longest=self._plan.longest)
        end = time.monotonic() + self._plan.seconds
        for number in itertools.count():
            workloads = await self._prepare(number)
            await self._round(*workloads, schedule, end)
            if self.report.violations or time.monotonic() >= end:
                break
        if not self.report.violations:
            await self._look_again()
        for workload, on_tasks in self._rounds:
            self.report.count(workload.history.operations)
            self.report.count(on_tasks.operations)
        return self.report

    async def _prepare(self, number: int) -> tuple[Workload, TaskWorkload]:
        # Ids of their own, so that a second run on the same stores finds no traces of the first.
        tasks = [f"round-{number}-{secrets.token_hex(4)}" for _ in range(_TASKS_A_ROUND)]
        for task in tasks:
            await self._cluster.register(task)
        workload = Workload(self._cluster, tasks, seed=f"{self._plan.seed} {number}")
        own = [f"task-{number}-{secrets.token_hex(4)}" for _ in range(_TASKS_A_ROUND)]
        on_tasks = TaskWorkload(self._cluster, own, seed=f"{self._plan.seed} {number}")
        await on_tasks.begin()
        self._rounds.append((workload, on_tasks))
        return workload, on_tasks

    async def _round(self, workload: Workload, on_tasks: TaskWorkload, schedule: Iterator[Fault], end: float) -> None:
        """Strike some faults while clients work, read everything, judge."""
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for number in range(self._plan.clients):
                group.create_task(workload.work(f"client {number}", stop))
                if number % _CLIENTS_PER_TASK_CLIENT == 0:
                    group.create_task(on_tasks.work(f"client {number}", stop))
            try:
                for fault in itertools.islice(schedule, _FAULTS_A_ROUND):
                    self._say(f"{fault.name} for {fault.seconds:.1f} s")
                    self.report.faults[fault.name] += 1
                    await strike(self._cluster, fault)
                    if self._dead_servers() or time.monotonic() >= end:
                        break
            except NotSettledError as error:
                self.report.violations.append(f"after {fault.name}: {error}")
            finally:
                stop.set()
        await self._look(workload, on_tasks)

    async def _look(self, workload: Workload, on_tasks: TaskWorkload) -> None:
        """Read everything, and judge what was read up to now."""
        await workload.look()
        await on_tasks.look()
        self._judge(workload.history)
        self.report.violations += on_tasks.violations()

    async def _look_again(self) -> None:
        """Read all keys of all rounds from Redis, then with Redis flushed: both stores tell the same."""
        for workload, on_tasks in self._rounds:
            await workload.look()
            await on_tasks.look()
        async with self._cluster.redis() as redis:
            await redis.flushall()
        for workload, on_tasks in self._rounds:
            await self._look(workload, on_tasks)

    def _dead_servers(self) -> bool:
        for server in self._cluster.servers:
            if (output := server.ended_by_itself) is not None:
                self.report.violations.append(f"{server.name} ended by itself:\n{output[-3000:]}")
        return bool(self.report.violations)

    def _judge(self, history: History) -> None:
        self.report.violations += judge(history, pending_possible=self._plan.pending_possible)


def judge(history: History, *, pending_possible: bool) -> list[str]:
    """Return every violation in a history, each explained."""
    pending_possible |= any(operation.pending for operation in history.operations)
    steps = history.steps()
    violations = impossible_answers(history.operations) + check_lists(history, steps)
    for ref, own in steps.items():
        found = check(own, pending_possible=pending_possible)
        if found is not None:
            violations.append(explain(ref, own, found, pending_possible=pending_possible))
    return violations


def known_faults(names: Sequence[str]) -> tuple[str, ...]:
    """Return the faults of these names; `redis` names all of Redis', `all` all. Raises ValueError."""
    found = [name for name in INJECTIONS if any(each in {"all", name, name.partition(".")[0]} for each in names)]
    unknown = [each for each in names if not any(each in {"all", name, name.partition(".")[0]} for name in INJECTIONS)]
    if unknown:
        raise ValueError(f"no such fault: {', '.join(unknown)}; there are {', '.join(INJECTIONS)}")
    return tuple(found)
