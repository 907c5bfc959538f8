"""Histories made by hand and at random, to judge the judges."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from tests.faults.history import NEVER, Action, Asked, History, Identity, Item, Operation, Outcome, Step
from tests.faults.model import Model
from tests.faults.run import judge

TASK, KEY = "t", "k"
A, B, C = "text:a", "text:b", "text:c"
FIRST, SECOND, THIRD = (Identity(f"ta-{number}", number) for number in (1, 2, 3))


@dataclass(slots=True)
class Handmade:
    """A history of task `t`; every call takes from `at` to `until`."""

    history: History = field(default_factory=lambda: History({TASK: (KEY, "l", "m")}))

    def add(self, kind: str, at: float, until: float, key: str = KEY, *, client: str = "c") -> Operation:
        """Add a call; the caller sets what else there is to it."""
        outcome = Outcome.UNKNOWN if until == NEVER else Outcome.OK
        keys = (key,) if kind != "list" else ()
        operation = Operation(client, kind, TASK, keys, at, until, outcome=outcome)
        self.history.operations.append(operation)
        return operation

    def create(
        self, at: float, until: float, value: str, identity: Identity | None = None, key: str = KEY
    ) -> Operation:
        """Create, answered with an identity; unknown without one."""
        operation = self.add("create", at, until if identity else NEVER, key)
        operation.value, operation.identity = value, identity
        return operation

    def delete(self, at: float, until: float, deleted_id: str = "", key: str = KEY) -> Operation:
        """Delete, answered with an id; unknown without one."""
        operation = self.add("delete", at, until if deleted_id else NEVER, key)
        operation.deleted_id = deleted_id
        return operation

    def get(self, at: float, until: float, value: str, identity: Identity, key: str = KEY) -> None:
        """Get, and find this."""
        self.add("get", at, until, key).items = (Item(key, value, identity),)

    def miss(self, at: float, until: float, key: str = KEY, *, kind: str = "get") -> None:
        """Get (or delete, or batch) and find nothing."""
        operation = self.add(kind, at, until, key)
        operation.outcome, operation.absent = Outcome.NOT_FOUND, key

    def list(self, at: float, until: float, *items: Item, asked: Asked = Asked()) -> Operation:  # noqa: B008 - frozen
        """List, and get this page, by default all there is."""
        operation = self.add("list", at, until)
        operation.items, operation.asked, operation.total_count = items, asked, len(items)
        return operation


Make = Callable[[Handmade], object]


def violations(make: Make, *, pending_possible: bool = False) -> list[str]:
    """Judge a handmade history."""
    made = Handmade()
    make(made)
    return judge(made.history, pending_possible=pending_possible)


def written(h: Handmade) -> None:
    """Begin with a value that was created and overwritten."""
    h.create(0, 1, A, FIRST)
    h.create(2, 3, B, FIRST)


def search_naively(steps: Sequence[Step], model: Model) -> bool:
    """Tell whether a history is linearizable by trying every order: the reference, as Wing and Gong have it."""

    def explained(left: tuple[Step, ...], state: object, dead: int) -> bool:
        if all(step.unknown for step in left):
            return True
        first_answer = min(step.returned for step in left)
        for place, step in enumerate(left):
            if step.called <= first_answer:
                after = model.apply(step, state, dead)  # type: ignore[arg-type]  # a State, in which `object` saves a type
                rest = left[:place] + left[place + 1 :]
                if after is not None and explained(rest, *after):
                    return True
        return False

    return explained(tuple(steps), None, 0)


def random_steps(chance: random.Random, *, pending: bool, most: int = 7) -> list[Step]:
    """Make a short history of few values and identities, as often right as wrong."""
    identities = (FIRST, SECOND, THIRD)[: chance.randint(1, 3)]
    values = ("json:a", "text:b", "text:c", "json:d")[: chance.randint(1, 4)]
    steps = []
    for number in range(chance.randint(3, most)):
        called = round(chance.uniform(0, 10))
        returned = called + 1 + round(chance.uniform(0, chance.choice((0, 8))))
        source = Operation(f"c{number}", "?", TASK, (KEY,), called, returned)
        step = _random_step(chance, Step(Action.ABSENT, called, returned, source), identities, values)
        steps.append(step if pending else replace(step, pending=False))
    unique: dict[str, Step] = {}
    for step in steps:
        if step.action is Action.CREATE:
            unique[step.value] = step
    return [step for step in steps if step.action is not Action.CREATE or unique[step.value] is step]


def _random_step(chance: random.Random, step: Step, identities: Sequence[Identity], values: Sequence[str]) -> Step:
    identity, value = chance.choice(identities), chance.choice(values)
    match chance.choice(("create", "create", "create?", "pending", "delete", "delete?", "found", "found", "absent")):
        case "create":
            return replace(step, action=Action.CREATE, value=value, identity=identity)
        case "pending":
            return replace(step, action=Action.CREATE, value=value, identity=identity, pending=True)
        case "create?":
            return replace(step, action=Action.CREATE, value=value, returned=NEVER)
        case "delete":
            return replace(step, action=Action.DELETE, deleted_id=identity.id)
        case "delete?":
            return replace(step, action=Action.DELETE, returned=NEVER)
        case "found":
            return replace(step, action=Action.FOUND, value=value, identity=identity)
    return replace(step, type=chance.choice((None, None, "json", "text")))
