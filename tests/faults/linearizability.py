"""Is the history of a key linearizable? And if not: the first answer that nothing explains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tests.faults.history import NEVER, Action, Step
from tests.faults.model import UNTOLD, Held, Model, State
from tests.faults.search import Search


@dataclass(frozen=True, slots=True)
class Contradiction:
    """The first answer that nothing explains, and what the key could have held just before it came."""

    step: Step
    states: tuple[State, ...]


def is_linearizable(steps: Sequence[Step], *, pending_possible: bool = False) -> bool:
    """Judge the history of one key, absent in the beginning; every value is created at most once.

    `pending_possible` says that unknown writes may have been accepted as
    pending, which some were when any answer was.
    """
    return bool(_states(steps, pending_possible=pending_possible))


def is_part(steps: Sequence[Step], whole: Sequence[Step], *, pending_possible: bool = False) -> bool:
    """Judge a part of a history as the part of any: the key may be in any state in the beginning."""
    types = _types(whole)
    provisional = UNTOLD if pending_possible else None
    values = {step.value for step in steps if step.action is Action.FOUND}
    values.add(f"{min(types)}:" if len(types) == 1 else "?:")  # whatever it is that nobody reads
    anything = [None, *(Held(value, None, provisional) for value in sorted(values))]
    model = Model.of(steps, pending_possible=pending_possible)
    # Not that an unknown write was done by the time it was read: that may have been before this part.
    narrowed = list(_narrowed(steps, types, certain=False))
    return bool(Search(model, narrowed, anything).run())


def check(steps: Sequence[Step], *, pending_possible: bool = False) -> Contradiction | None:
    """Return the first contradiction in the history of one key, None if it is linearizable."""
    if is_linearizable(steps, pending_possible=pending_possible):
        return None
    answers = sorted((step for step in steps if not step.unknown), key=lambda step: step.returned)
    # A history that has a contradiction keeps it as it goes on: the first answer with one is found by halving.
    low, high = 0, len(answers) - 1
    while low < high:
        middle = (low + high) // 2
        if is_linearizable(known_at(steps, answers[middle].returned), pending_possible=pending_possible):
            low = middle + 1
        else:
            high = middle
    before = known_at(steps, answers[low - 1].returned) if low else []
    return Contradiction(answers[low], _states(before, pending_possible=pending_possible))


def forgotten(step: Step) -> Step | None:
    """Return what is left of a step when its answer is not known: nothing of a read, an unknown write."""
    if step.action in {Action.FOUND, Action.ABSENT}:
        return None
    return replace(step, returned=NEVER, identity=None, deleted_id="", pending=False)


def since(steps: Sequence[Step], moment: float) -> list[Step]:
    """Return the part of a history after a moment; what was under way then may have taken effect before."""
    later = (step for step in steps if step.returned > moment)
    parts = (step if step.called > moment else forgotten(step) for step in later)
    return [step for step in parts if step is not None]


def known_at(steps: Sequence[Step], moment: float) -> list[Step]:
    """Return the history as it was known at a moment, with calls under way then as unknown."""
    called = (step for step in steps if step.called <= moment)
    known = (step if step.returned <= moment else forgotten(step) for step in called)
    return [step for step in known if step is not None]


def _states(steps: Sequence[Step], *, pending_possible: bool) -> tuple[State, ...]:
    """Return what the key may hold after a history; nothing if the history is not linearizable."""
    return Search(Model.of(steps, pending_possible=pending_possible), list(_narrowed(steps, _types(steps)))).run()


def _narrowed(steps: Sequence[Step], types: set[str], *, certain: bool = True) -> Iterator[Step]:
    """Say the same with steps that make the search shorter."""
    first_read: dict[str, float] = {}
    for step in steps:
        if step.action is Action.FOUND:
            first_read[step.value] = min(first_read.get(step.value, NEVER), step.returned)
    for step in steps:
        if step.type is not None and len(types) == 1:
            if step.type in types:  # there is no other type it could be of, so it is not there at all
                yield replace(step, type=None)
        elif step.action is not Action.CREATE or not step.unknown:
            yield step
        elif step.value in first_read:  # then it happened, by then
            yield replace(step, returned=max(first_read[step.value], step.called)) if certain else step
        else:  # then it does not matter which one of its type it is
            yield replace(step, value=_type(step.value) + ":")


def _types(steps: Sequence[Step]) -> set[str]:
    return {_type(step.value) for step in steps if step.action is Action.CREATE}


def _type(value: str) -> str:
    return value.partition(":")[0]
