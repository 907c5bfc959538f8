"""The judge of tasks judged: good histories are accepted, each kind of bad one is rejected."""

from __future__ import annotations

import pytest

from tests.faults.history import NEVER, Operation, Outcome, TaskState
from tests.faults.task_checker import check_task

_OUTCOMES = {"ok": Outcome.OK, "none": Outcome.NOT_FOUND, "taken": Outcome.PRESENT, "?": Outcome.UNKNOWN}


def history(text: str) -> list[Operation]:
    """Read lines of: called, returned, what, outcome; what is `create A`, `update B`, `complete`, `delete` or `get`.

    The outcome of a get is what it found: `A`, or `A!` for a completed task.
    """
    made: list[Operation] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        called, returned, *what, outcome = line.split()
        operation = Operation(f"client-{len(made)}", f"task.{what[0]}", "t", (), float(called), float(returned))
        operation.value = what[1] if len(what) > 1 else None
        operation.outcome = _OUTCOMES.get(outcome, Outcome.OK)
        if outcome not in _OUTCOMES:
            operation.found = TaskState(outcome.rstrip("!"), outcome.endswith("!"))
        if operation.outcome is Outcome.UNKNOWN:
            operation.returned = NEVER
        made.append(operation)
    return made


GOOD = {
    "a life": """
        0 1 create A ok
        2 3 update B ok
        4 5 get B
        6 7 complete ok
        8 9 get B!
        10 11 create C taken
        12 13 delete ok
        14 15 get none
        16 17 update D none
        18 19 create E ok
        20 21 get E""",
    "a read during an update": """
        0 1 create A ok
        2 9 update B ok
        3 4 get A
        5 6 get B""",
    "a late update": """
        0 1 create A ok
        2 3 update B ?
        4 5 get A
        6 7 get B""",
    "unknown writes that nobody reads": """
        0 1 create A ?
        2 3 create B taken
        4 5 complete ?
        6 7 delete ?
        8 9 create C ok
        10 11 get C!""",
    "two registrations, one of them refused": """
        0 5 create A ok
        1 6 create B taken
        7 8 get A""",
}
BAD = {
    "a lost update": """
        0 1 create A ok
        2 3 update B ok
        4 5 get A""",
    "back behind a read": """
        0 1 create A ok
        2 9 update B ok
        3 4 get B
        5 6 get A""",
    "a deleted task comes back": """
        0 1 create A ok
        2 3 delete ok
        4 5 get A""",
    "a deleted task comes back for an update": """
        0 1 create A ok
        2 3 delete ok
        4 5 update B ok""",
    "registered twice": """
        0 1 create A ok
        2 3 create B ok""",
    "refused without a reason": """
        0 1 create A taken""",
    "a lost completion": """
        0 1 create A ok
        2 3 complete ok
        4 5 get A""",
    "an unknown deletion twice": """
        0 1 create A ok
        2 3 delete ?
        4 5 get none
        6 7 create B ok
        8 9 get none""",
    "an unknown update after another was seen": """
        0 1 create A ok
        2 3 update B ?
        4 5 get B
        6 7 update C ok
        8 9 get B""",
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_history_is_accepted(name: str) -> None:
    assert check_task(history(GOOD[name])) is None


@pytest.mark.parametrize("name", BAD)
def test_a_bad_history_is_rejected_at_its_last_answer(name: str) -> None:
    steps = history(BAD[name])
    contradiction = check_task(steps)
    assert contradiction is not None
    assert steps[-1].client in contradiction.splitlines()[1]
