"""A watcher that writes down what it is told, resumes whenever it is cut off, and is judged by what was written."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import grpc

from affix.v1 import attachments_pb2 as pb
from tests.faults.clients import GrpcClient
from tests.faults.cluster import Cluster
from tests.faults.history import History, Outcome, Ref

_AGAIN_SECONDS = 0.05
# What a watch that was cut off may have missed is older than what it was told last: after an outage of Redis keys are
# made up for one after another. As long as a fault lasts, and the recovery from it.
_SLACK_SECONDS = 10.0
_QUIET = frozenset({pb.ATTACHMENT_EVENT_KIND_STARTED, pb.ATTACHMENT_EVENT_KIND_PROGRESS})


@dataclass(frozen=True, slots=True)
class Gap:
    """From the last that the watcher was told of to a new beginning: it was told that it may have missed something."""

    begin: float
    end: float


@dataclass(slots=True)
class Record:
    """What a watcher was told: per stretch without a gap, the revisions of each key in order."""

    stretches: list[dict[Ref, list[int]]] = field(default_factory=lambda: [defaultdict(list)])
    gaps: list[Gap] = field(default_factory=list)
    resumed: int = 0
    wrong: list[str] = field(default_factory=list)

    def violations(self, history: History) -> list[str]:
        """Compare with the acknowledged writes whose revisions are known."""
        found = list(self.wrong)
        for ref in history.refs:
            for stretch in self.stretches:
                told = stretch.get(ref, [])
                if told != sorted(set(told)):
                    found.append(f"{ref} was told of out of order or twice: {told}")
        seen = {(ref, revision) for stretch in self.stretches for ref, told in stretch.items() for revision in told}
        for operation in history.operations:
            if operation.outcome is not Outcome.OK or operation.revision is None:
                continue
            ref = Ref(operation.task, operation.keys[0])
            if (ref, operation.revision) not in seen and not self._excused(operation.called, operation.returned):
                found.append(f"never told of revision {operation.revision} of {ref}: {operation}")
        return found

    def _excused(self, called: float, returned: float) -> bool:
        return any(called <= gap.end and returned >= gap.begin - _SLACK_SECONDS for gap in self.gaps)


class Watcher:
    """Watches through any server, as long as there is one."""

    def __init__(self, cluster: Cluster, *, seed: str) -> None:
        """Keep a record of its own."""
        self.record = Record()
        self._cluster = cluster
        self._chance = random.Random(seed)  # noqa: S311 - replayed, not secret
        self._token: str | None = None
        self._heard = asyncio.Event()
        self._up_to = time.monotonic()
        self.started = asyncio.Event()

    async def watch(self) -> None:
        """Watch until cancelled."""
        while True:
            server = self._chance.choice(self._cluster.servers)
            client = server.clients["grpc"]
            assert isinstance(client, GrpcClient)
            try:
                async for response in client.watch(self._token):
                    self._take(response)
            except grpc.aio.AioRpcError as error:
                self._cut_off(error)
            await asyncio.sleep(_AGAIN_SECONDS)

    async def catch_up(self, name: str) -> None:
        """Wait until it has been told of all that was written before: of what is written now, in any case."""
        while True:
            self._heard.clear()
            await self._write(name)
            try:
                async with asyncio.timeout(2.0):
                    await self._heard.wait()
            except TimeoutError:
                continue  # it may have begun anew just behind it
            return

    async def _write(self, name: str) -> None:
        client = self._cluster.servers[0].clients["grpc"]
        params = {"taskId": name, "key": "sentinel", "type": "text", "content": "x"}
        await client.call("task.create_attachment", params, 3.0)

    def _take(self, response: pb.WatchAttachmentsResponse) -> None:
        now = time.monotonic()
        if self._token is None and self.started.is_set():
            self.record.gaps.append(Gap(self._up_to, now))
            self.record.stretches.append(defaultdict(list))
        if self._token is None:
            self._up_to = now
        elif response.HasField("written_at"):
            # Not now: it may lag behind what is written.
            self._up_to = response.written_at.ToMilliseconds() / 1000 - time.time() + now
        self._token = response.resume_token
        self.started.set()
        if response.key == "sentinel":
            self._heard.set()
        elif response.kind not in _QUIET:
            self.record.stretches[-1][Ref(response.task_id, response.key)].append(response.revision)

    def _cut_off(self, error: grpc.aio.AioRpcError) -> None:
        match error.code():
            case grpc.StatusCode.OUT_OF_RANGE:
                self._token = None
            case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.DEADLINE_EXCEEDED | grpc.StatusCode.RESOURCE_EXHAUSTED:
                self.record.resumed += 1
            case _:
                self.record.wrong.append(f"a watch ended with {error.code()} {error.details()}")


def told(records: Iterable[Record]) -> str:
    """Sum up records in one line."""
    all_ = list(records)
    events = sum(len(each) for record in all_ for stretch in record.stretches for each in stretch.values())
    gaps, resumed = sum(len(record.gaps) for record in all_), sum(record.resumed for record in all_)
    return f"{events} events watched, resumed {resumed} times, begun anew {gaps} times"
