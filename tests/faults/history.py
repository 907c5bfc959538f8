"""What clients did and saw: operations with the times of their calls and answers."""

from __future__ import annotations

import enum
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

NEVER = math.inf


class Outcome(enum.Enum):
    """How a call ended, as far as its client can know."""

    OK = "ok"
    NOT_FOUND = "not found"  # a definite answer: the key named in `absent` is not there
    PRESENT = "present"  # a definite answer: the task is there, so it was not registered
    REFUSED = "refused"  # a definite answer: nothing was done
    UNKNOWN = "unknown"  # a write may take effect at any time from now on, or never; a read says nothing


class Ref(NamedTuple):
    """One key of one task."""

    task: str
    key: str


class Identity(NamedTuple):
    """What stays the same from a create to the next delete; `created_at` in milliseconds."""

    id: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Item:
    """An attachment as an answer had it; `value` begins with its type and a colon."""

    key: str
    value: str
    identity: Identity


class TaskState(NamedTuple):
    """What a task was seen to be."""

    text: str
    completed: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """Which page of a list was asked for."""

    limit: int = 100
    offset: int = 0
    type: str | None = None


@dataclass(slots=True)
class Operation:
    """One call. Times are of one monotonic clock, in seconds; `returned` is NEVER while it is under way."""

    client: str
    kind: str  # create, get, delete, list, batch; of tasks: task.create and so on
    task: str
    keys: tuple[str, ...]
    called: float
    returned: float = NEVER
    value: str | None = None  # what a create writes
    asked: Asked = Asked()
    outcome: Outcome = Outcome.UNKNOWN
    found: TaskState | None = None  # what a get of a task found
    items: tuple[Item, ...] = ()  # what a get, list or batch found, in the order of the answer
    identity: Identity | None = None  # of a create's answer
    deleted_id: str = ""
    absent: str | None = None  # the key that is said not to be there
    total_count: int = 0
    has_more: bool = False
    pending: bool = False
    degraded: bool = False
    error: str = ""
    late: bool = False  # the client gave up waiting

    @property
    def whole(self) -> bool:
        """Whether the answer is the whole of a list, or of its part of one type."""
        return self.asked.offset == 0 and not self.has_more


class Action(enum.Enum):
    """What an operation means for one key."""

    CREATE = "create"
    DELETE = "delete"
    FOUND = "found"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Step:
    """An operation, as far as it concerns one key.

    `returned` is NEVER for a write whose outcome is unknown. An ABSENT with a
    `type` says only that no attachment of this type is under the key.
    """

    action: Action
    called: float
    returned: float
    source: Operation
    value: str = ""
    identity: Identity | None = None
    deleted_id: str = ""
    pending: bool = False
    type: str | None = None

    @property
    def unknown(self) -> bool:
        """Whether it may have happened or not."""
        return self.returned == NEVER


@dataclass(slots=True)
class History:
    """All operations on some tasks, which had no attachments when it began."""

    tasks: dict[str, tuple[str, ...]]
    operations: list[Operation] = field(default_factory=list)

    @property
    def refs(self) -> list[Ref]:
        """Every key there is."""
        return [Ref(task, key) for task, keys in self.tasks.items() for key in keys]

    def steps(self) -> dict[Ref, list[Step]]:
        """Break the operations down by key, in order of their calls; reads without an answer say nothing."""
        found: dict[Ref, list[Step]] = defaultdict(list)
        for operation in sorted(self.operations, key=lambda each: each.called):
            for key, step in self._steps_of(operation):
                found[Ref(operation.task, key)].append(step)
        return found

    def _steps_of(self, operation: Operation) -> Iterator[tuple[str, Step]]:
        match operation.kind:
            case "create" | "delete":
                step = _write(operation)
                if step is not None:
                    yield operation.keys[0], step
            case "get" | "batch":
                yield from _read(operation)
            case "list":
                yield from _listed(operation, self.tasks[operation.task])


def _write(operation: Operation) -> Step | None:
    action = Action.CREATE if operation.kind == "create" else Action.DELETE
    value = operation.value or ""
    match operation.outcome:
        case Outcome.OK:
            return Step(
                action,
                operation.called,
                operation.returned,
                operation,
                value=value,
                identity=operation.identity,
                deleted_id=operation.deleted_id,
                pending=operation.pending,
            )
        case Outcome.NOT_FOUND:
            return Step(Action.ABSENT, operation.called, operation.returned, operation)
        case Outcome.UNKNOWN:
            return Step(action, operation.called, NEVER, operation, value=value)
        case Outcome.REFUSED | Outcome.PRESENT:
            return None


def _read(operation: Operation) -> Iterator[tuple[str, Step]]:
    called, returned = operation.called, operation.returned
    if operation.outcome is Outcome.OK:
        yield from _found(operation)
    elif operation.outcome is Outcome.NOT_FOUND and operation.absent is not None:
        yield operation.absent, Step(Action.ABSENT, called, returned, operation)


def _found(operation: Operation) -> Iterator[tuple[str, Step]]:
    called, returned = operation.called, operation.returned
    for item in operation.items:
        yield (
            item.key,
            Step(Action.FOUND, called, returned, operation, value=item.value, identity=item.identity),
        )


def _listed(operation: Operation, keys: tuple[str, ...]) -> Iterator[tuple[str, Step]]:
    """A list is a read of every key it holds and, if it is whole, of every key it does not."""
    if operation.outcome is not Outcome.OK or operation.degraded:
        return
    yield from _found(operation)
    if operation.whole:
        listed = {item.key for item in operation.items}
        for key in keys:
            if key not in listed:
                step = Step(Action.ABSENT, operation.called, operation.returned, operation, type=operation.asked.type)
                yield key, step
