"""A contradiction in a form that a person can follow: only the steps that matter, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.faults.history import NEVER, Action, Ref, Step
from tests.faults.linearizability import Contradiction, forgotten, is_linearizable, is_part, known_at, since
from tests.faults.model import UNTOLD, State

_MOST_LINES = 40


def explain(ref: Ref, steps: Sequence[Step], found: Contradiction, *, pending_possible: bool) -> str:
    """Show the answer that nothing explains, what the key could have held, and the steps around it."""
    relevant = minimal(steps, found, pending_possible=pending_possible)
    zero = found.step.called
    possible = "; or ".join(_state(state) for state in found.states)
    lines = [
        f"key {ref.key!r} of task {ref.task}: nothing explains",
        f"    {line(found.step, zero)}",
        f"  before its answer the key was {possible}",
        f"  the steps that matter (ms from that call; {len(steps)} in all):",
        *(f"  {'->' if step is found.step else '  '} {line(step, zero)}" for step in relevant[-_MOST_LINES:]),
    ]
    return "\n".join(lines)


def minimal(steps: Sequence[Step], found: Contradiction, *, pending_possible: bool) -> list[Step]:
    """Return the steps, in order, whose answers are enough for this contradiction, and what wrote what they saw.

    First as much as possible is cut off in front, such that what is left contradicts
    itself whatever was before; then answers are forgotten one after another. A read
    vanishes then and a write becomes one that may have happened, neither of
    which makes a contradiction where there was none.
    """
    until = known_at(steps, found.step.returned)

    def contradictory(part: Sequence[Step]) -> bool:
        return not is_part(part, until, pending_possible=pending_possible)

    if contradictory(until):
        window = _latest(until, contradictory)
    else:
        window = until

        def contradictory(part: Sequence[Step]) -> bool:
            return not is_linearizable(part, pending_possible=pending_possible)

    matter = _without_superfluous(window, contradictory)
    seen = {step.value for step in matter} | {state.value for state in found.states if state}
    wrote = [step for step in steps if step.action is Action.CREATE and step.value in seen]
    shown = {id(step) for step in (*matter, *wrote, found.step)}
    return [step for step in steps if id(step) in shown]


Contradictory = Callable[[Sequence[Step]], bool]


def _latest(steps: list[Step], contradictory: Contradictory) -> list[Step]:
    """Cut off as many steps in front as can be, in order of their answers."""
    times = sorted(step.returned for step in steps if not step.unknown)
    low, high = 0, len(times)  # without the first `low` it is contradictory, without the first `high` it is not
    while high - low > 1:
        middle = (low + high) // 2
        if contradictory(since(steps, times[middle - 1])):
            low = middle
        else:
            high = middle
    return since(steps, times[low - 1]) if low else steps


def _without_superfluous(steps: list[Step], contradictory: Contradictory) -> list[Step]:
    """Return the steps whose answers cannot be forgotten; what can is found by halves."""
    answered = {number for number, step in enumerate(steps) if not step.unknown}
    size = len(steps)
    while size := size // 2:
        for start in range(0, len(steps), size):
            kept = answered.difference(range(start, start + size))
            if len(kept) < len(answered):
                weaker = [step if number in kept else forgotten(step) for number, step in enumerate(steps)]
                if contradictory([step for step in weaker if step is not None]):
                    answered = kept
    return [step for number, step in enumerate(steps) if number in answered]


def line(step: Step, zero: float = 0.0) -> str:
    """Show a step: when, who, what, and what it was answered."""
    begun = f"{(step.called - zero) * 1000:9.1f}"
    ended = "      ..." if step.unknown else f"{(step.returned - zero) * 1000:9.1f}"
    return f"{begun} {ended}  {step.source.client:<14} {step.source.kind:<7}{_answer(step)}"


def _answer(step: Step) -> str:
    match step.action:
        case Action.CREATE:
            told = "" if step.identity is None else f" -> {step.identity.id} of {step.identity.created_at}"
            return f"{step.value}{told}{_certainty(step)}"
        case Action.DELETE:
            return f"-> {step.deleted_id or 'nothing'}{_certainty(step)}"
        case Action.FOUND:
            assert step.identity is not None
            return f"-> {step.value}, {step.identity.id} of {step.identity.created_at}"
        case Action.ABSENT:
            return "-> not there" if step.type is None else f"-> no {step.type} there"


def _certainty(step: Step) -> str:
    if step.returned == NEVER:
        return f" (unknown: {step.source.error or 'no answer'})"
    return " (pending)" if step.pending else ""


def _state(state: State) -> str:
    if state is None:
        return "absent"
    identity = "an id nobody has seen" if state.identity is None else state.identity.id
    also = "" if state.provisional in {None, UNTOLD} else f" or {state.provisional.id}"
    return f"{state.value} with {identity}{also}"
