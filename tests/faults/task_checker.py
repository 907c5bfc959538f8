"""Is the history of a task linearizable? A task is absent, or has a text and is completed or not.

Wing and Gong's search, just in time and memoised, as in search.py, for another sequential specification:
a registration needs an absent task, everything else one that is there; an update sets the text and makes the
task one that is not completed. What keeps the configurations few:

- An unknown write whose text was read did happen, before that read was answered.
- Another unknown update explains nothing. Unknown deletions are all alike, so are completions, and
  registrations that nobody reads: of each sort the first called stands for the next.
- A read that finds what is there takes effect at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from tests.faults.history import NEVER, Operation, Outcome, TaskState

_UNREAD = "?"
_UNKNOWN = ("task.create", "task.complete", "task.delete")
_SHOWN = 30

State = TaskState | None


class _Configuration(NamedTuple):
    """One way to explain the answers so far: which steps under way took effect, how many unknown ones of each sort."""

    state: State
    done: frozenset[int]
    used: tuple[int, ...]


def check_task(operations: Sequence[Operation]) -> str | None:
    """Judge the history of one task that was absent in the beginning; return the contradiction, if there is one."""
    steps = list(_narrowed(operations))
    found = _Search(steps).contradiction()
    if found is None:
        return None
    before = sorted((step for step in steps if step.called <= found.returned), key=lambda step: step.called)
    lines = [f"  {'->' if step is found else '  '} {_line(step, found.called)}" for step in before[-_SHOWN:]]
    return "\n".join([f"task {found.task}: nothing explains", f"    {_line(found, found.called)}", *lines])


def _narrowed(operations: Iterable[Operation]) -> Iterator[Operation]:
    """Leave out what says nothing, and say what is known of writes that had no answer."""
    kept = [each for each in operations if each.outcome is not Outcome.REFUSED]
    first_read: dict[str, float] = {}
    for each in kept:
        if each.kind == "task.get" and each.found is not None:
            first_read[each.found.text] = min(first_read.get(each.found.text, NEVER), each.returned)
    for each in kept:
        if each.outcome is not Outcome.UNKNOWN:
            yield each
        elif each.value in first_read:
            yield replace(each, outcome=Outcome.OK, returned=max(first_read[each.value], each.called))
        elif each.kind in _UNKNOWN:
            yield replace(each, returned=NEVER)


def _apply(step: Operation, state: State) -> tuple[State] | None:
    """Let a step take effect; None if it could not have had its answer then."""
    if step.outcome is Outcome.NOT_FOUND:
        return (state,) if state is None else None
    if step.outcome is Outcome.PRESENT:
        return (state,) if state is not None else None
    if step.kind == "task.create":
        return (TaskState(step.value or _UNREAD, completed=False),) if state is None else None
    if state is None:
        return None
    match step.kind:
        case "task.update":
            return (TaskState(step.value or _UNREAD, completed=False),)
        case "task.complete":
            return (TaskState(state.text, completed=True),)
        case "task.delete":
            return (None,)
    return (state,) if step.found == state else None


class _Search:
    def __init__(self, steps: Sequence[Operation]) -> None:
        self._steps = steps
        self._open: dict[int, Operation] = {}
        self._unknown: dict[str, int] = dict.fromkeys(_UNKNOWN, 0)
        self._configurations = [_Configuration(None, frozenset(), (0,) * len(_UNKNOWN))]

    def contradiction(self) -> Operation | None:
        """Return the first answer that nothing explains; None if everything is explained."""
        for _, is_answer, number in _events(self._steps):
            step = self._steps[number]
            if is_answer:
                if not self._answer(number):
                    return step
            elif step.returned == NEVER:
                self._unknown[step.kind] += 1
            else:
                self._open[number] = step
                self._configurations = [self._read_early(each) for each in self._configurations]
        return None

    def _answer(self, number: int) -> bool:
        kept: dict[tuple[State, frozenset[int]], list[tuple[int, ...]]] = {}
        for configuration in self._configurations:
            for reached in self._until(configuration, number):
                _add(kept, reached._replace(done=reached.done - {number}))
        del self._open[number]
        self._configurations = [
            _Configuration(state, done, used) for (state, done), least in kept.items() for used in least
        ]
        return bool(self._configurations)

    def _until(self, start: _Configuration, target: int) -> Iterator[_Configuration]:
        """Let steps take effect in every order, as few as it takes, until the target has."""
        visited: dict[tuple[State, frozenset[int]], list[tuple[int, ...]]] = {}
        waiting = [start]
        while waiting:
            now = waiting.pop()
            if target in now.done:
                yield now
                continue
            waiting += [each for each in self._next(now) if _add(visited, each)]

    def _next(self, now: _Configuration) -> Iterator[_Configuration]:
        for number, step in self._open.items():
            after = _apply(step, now.state) if number not in now.done else None
            if after is not None:
                yield self._read_early(_Configuration(after[0], now.done | {number}, now.used))
        for place, kind in enumerate(_UNKNOWN):
            after = _apply(_unread(kind), now.state) if now.used[place] < self._unknown[kind] else None
            if after is not None and after[0] != now.state:
                used = tuple(count + (at == place) for at, count in enumerate(now.used))
                yield self._read_early(_Configuration(after[0], now.done, used))

    def _read_early(self, now: _Configuration) -> _Configuration:
        early = {number for number, step in self._open.items() if _apply(step, now.state) == (now.state,)}
        early = {number for number in early if self._is_read(self._open[number])}
        return now._replace(done=now.done | early) if early - now.done else now

    @staticmethod
    def _is_read(step: Operation) -> bool:
        return step.kind == "task.get" or step.outcome in {Outcome.NOT_FOUND, Outcome.PRESENT}


def _unread(kind: str) -> Operation:
    return Operation("", kind, "", (), 0, outcome=Outcome.OK)


def _add(kept: dict[tuple[State, frozenset[int]], list[tuple[int, ...]]], new: _Configuration) -> bool:
    """Add a configuration, unless one that used less is there."""
    least = kept.setdefault((new.state, new.done), [])
    if any(all(one <= two for one, two in zip(used, new.used, strict=True)) for used in least):
        return False
    least[:] = [used for used in least if not all(two <= one for one, two in zip(used, new.used, strict=True))]
    least.append(new.used)
    return True


def _events(steps: Sequence[Operation]) -> list[tuple[float, bool, int]]:
    """Put calls and answers in order; at the same moment calls come first, which allows more."""
    calls = [(step.called, False, number) for number, step in enumerate(steps)]
    answers = [(step.returned, True, number) for number, step in enumerate(steps) if step.returned < NEVER]
    return sorted([*calls, *answers])


def _line(step: Operation, zero: float) -> str:
    begun = f"{(step.called - zero) * 1000:9.1f}"
    ended = "      ..." if step.returned == NEVER else f"{(step.returned - zero) * 1000:9.1f}"
    said = step.outcome.value if step.found is None else f"{step.found.text}{' completed' * step.found.completed}"
    return (
        f"{begun} {ended}  {step.client:<14} {step.kind:<14}{step.value or '':<8} -> {said}{' pending' * step.pending}"
    )
