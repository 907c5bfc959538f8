"""Wing and Gong's search for a linearization, breadth first and memoised.

Wing and Gong, "Testing and verifying concurrent objects" (1993); the order is
that of Lowe, "Testing for linearizability" (2017), just in time: go through
calls and answers as they came and keep every configuration (state of the key,
bit masks of the steps that took effect) that explains the answers so far. When
a step's answer comes, each configuration lets steps under way take effect until
that step is among them. No configuration left: not linearizable. Nothing is
lost by searching per key: linearizability is local.

What keeps the configurations few, without losing one that could go on to the end:
- A value is created once, an id lives once: no write may end either while a step
  that names it has still to take effect.
- A read that leaves the state as it is takes effect at once, and so does a create that nobody
  reads, just before the next write: waiting gains nothing.
- Unknown writes stay under way for ever and are used only when needed: of two configurations
  that differ in them and in dead ids alone, one with a subset of the other's replaces it.
- An unknown create whose value was read did happen, before that read was answered; of the others
  (and of unknown deletes) all of one type are alike: the first called stands for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tests.faults.history import Action, Step
from tests.faults.model import Model, State

_READS = frozenset({Action.FOUND, Action.ABSENT})


class Configuration(NamedTuple):
    """One way to explain the answers so far."""

    state: State
    done: int  # definite steps under way that took effect, by slot
    used: int  # unknown writes that took effect, by slot
    dead: int  # ids that must not be seen again


class Search:
    """The configurations that explain what has been answered so far, and the steps under way."""

    def __init__(self, model: Model, steps: Sequence[Step], initial: Iterable[State] = (None,)) -> None:
        """Take a history, and the states in which it may have begun."""
        self._model = model
        self._steps = steps
        self._awaited = _Awaited(steps, model.bits)
        self._last_of_type: dict[str, float] = {}
        for step in steps:
            if step.type is not None:
                self._last_of_type[step.type] = max(step.returned, self._last_of_type.get(step.type, 0.0))
        self._configurations = [Configuration(state, 0, 0, 0) for state in initial]
        self._definite: dict[int, Step] = {}
        self._unread: dict[int, Step] = {}
        self._unknown: dict[tuple[Action, str], list[tuple[int, Step]]] = {}
        self._free: list[int] = []
        self._slots = 0

    def run(self) -> tuple[State, ...]:
        """Return the states that are possible at the end; none if the history is not linearizable."""
        slots: dict[int, int] = {}
        for _, is_answer, number in _events(self._steps):
            if not is_answer:
                slots[number] = self._call(self._steps[number])
            elif not self._answer(slots.pop(number)):
                return ()
        return tuple(dict.fromkeys(each.state for each in self._configurations))

    def _call(self, step: Step) -> int:
        slot = self._free.pop() if self._free else self._slots
        self._slots = max(self._slots, slot + 1)
        if step.unknown:
            self._unknown.setdefault((step.action, step.value), []).append((slot, step))
            return slot
        self._definite[slot] = step
        self._awaited.call(slot, step)
        if step.action is Action.CREATE and self._is_never_seen(step):
            self._unread[slot] = step
        if step.action in _READS:
            self._configurations = [self._read_early(each) for each in self._configurations]
        return slot

    def _is_never_seen(self, step: Step) -> bool:
        """Tell whether nobody ever sees this value, nor its type where there might be another."""
        if step.pending or self._awaited.ever(step.value):
            return False
        others = (last for type_, last in self._last_of_type.items() if not step.value.startswith(type_ + ":"))
        return all(last < step.called for last in others)

    def _answer(self, slot: int) -> bool:
        """Keep the configurations in which the step has taken effect; False if there is none."""
        bit = 1 << slot
        kept = _Frontier()
        for configuration in self._configurations:
            for reached in self._until(configuration, slot):
                kept.add(reached._replace(done=reached.done & ~bit))
        self._configurations = list(kept)
        self._awaited.answer(slot, self._definite.pop(slot))
        self._unread.pop(slot, None)
        self._free.append(slot)
        return bool(self._configurations)

    def _until(self, start: Configuration, target: int) -> Iterator[Configuration]:
        """Let steps take effect in every order, as few as it takes, until the target has."""
        visited = _Frontier()
        visited.add(start)
        waiting = [start]
        while waiting:
            configuration = waiting.pop()
            if configuration.done >> target & 1:
                yield configuration
                continue
            waiting += [each for each in self._next(configuration, target) if visited.add(each)]

    def _next(self, now: Configuration, target: int) -> Iterator[Configuration]:
        for slot, step in self._definite.items():
            if not now.done >> slot & 1 and not (slot != target and self._is_hidden(slot, step, now.state)):
                yield from self._after(now, step, done=1 << slot)
        for (action, value), writes in self._unknown.items():
            if action is Action.DELETE or now.state is None or self._overwrite_matters(value):
                first = next(((slot, step) for slot, step in writes if not now.used >> slot & 1), None)
                if first is not None:
                    yield from self._after(now, first[1], used=1 << first[0])

    def _after(self, now: Configuration, step: Step, *, done: int = 0, used: int = 0) -> Iterator[Configuration]:
        """Let a step take effect, if it can and nothing that it ends is still awaited."""
        after = self._model.apply(step, now.state, now.dead)
        if after is None:
            return
        done |= now.done
        if step.action not in _READS and now.state is not None:
            done |= self._hidden(now.state)
            if self._awaited.value(now.state.value, done):
                return
            died = after[1] & ~now.dead
            if died and self._awaited.ids(died, done):
                return
        yield self._read_early(Configuration(after[0], done, now.used | used, after[1]))

    def _is_hidden(self, slot: int, step: Step, state: State) -> bool:
        """Tell whether a step is a create that changes nothing but to a value that nobody reads."""
        if slot not in self._unread or state is None:
            return False
        return state.provisional is None and state.identity is not None and step.identity == state.identity

    def _hidden(self, state: State) -> int:
        """Return the creates that may take effect just before another write, and nobody is the wiser."""
        if state is None or state.provisional is not None or state.identity is None:
            return 0
        return sum(1 << slot for slot, step in self._unread.items() if step.identity == state.identity)

    def _overwrite_matters(self, value: str) -> bool:
        """Tell whether it can be seen that this value replaced another: itself, by its type, or by an id untold."""
        if self._model.pending_possible or self._awaited.ever(value):
            return True
        return any(step.type is not None for step in self._definite.values())

    def _read_early(self, now: Configuration) -> Configuration:
        done = now.done
        for slot, step in self._definite.items():
            if step.action not in _READS or done >> slot & 1:
                continue
            if self._model.apply(step, now.state, now.dead) == (now.state, now.dead):
                done |= 1 << slot
        return now if done == now.done else now._replace(done=done)


class _Awaited:
    """The steps that name a value or an id and may still have to take effect, as masks of their slots."""

    def __init__(self, steps: Iterable[Step], bits: Mapping[str, int]) -> None:
        self._bits = bits
        self._values: dict[str, list[int]] = {}
        self._ids: dict[int, list[int]] = {}
        for step in steps:
            for names in self._names(step):
                # The number of those not called yet, and the mask of those under way.
                names[0] += 1

    def call(self, slot: int, step: Step) -> None:
        for names in self._names(step):
            names[0] -= 1
            names[1] |= 1 << slot

    def answer(self, slot: int, step: Step) -> None:
        for names in self._names(step):
            names[1] &= ~(1 << slot)

    def ever(self, value: str) -> bool:
        """Tell whether a value is ever read."""
        return value in self._values

    def value(self, value: str, done: int) -> bool:
        """Tell whether a read of this value has still to take effect."""
        names = self._values.get(value)
        return names is not None and (names[0] > 0 or bool(names[1] & ~done))

    def ids(self, bits: int, done: int) -> bool:
        """Tell whether a step that names one of these ids has still to take effect."""
        while bits:
            bit = bits & -bits
            bits ^= bit
            waiting, under_way = self._ids[bit]
            if waiting or under_way & ~done:
                return True
        return False

    def _names(self, step: Step) -> Iterator[list[int]]:
        if step.action is Action.FOUND:
            yield self._values.setdefault(step.value, [0, 0])
        name = step.deleted_id if step.identity is None else step.identity.id
        if name:
            yield self._ids.setdefault(self._bits[name], [0, 0])


class _Frontier:
    """A set of configurations without those that another one makes superfluous."""

    def __init__(self) -> None:
        self._least: dict[tuple[State, int], list[tuple[int, int]]] = {}

    def add(self, new: Configuration) -> bool:
        """Add one; False if it is superfluous."""
        held = self._least.setdefault((new.state, new.done), [])
        if any(used & ~new.used == 0 and dead & ~new.dead == 0 for used, dead in held):
            return False
        held[:] = [(used, dead) for used, dead in held if new.used & ~used or new.dead & ~dead]
        held.append((new.used, new.dead))
        return True

    def __iter__(self) -> Iterator[Configuration]:
        for (state, done), held in self._least.items():
            for used, dead in held:
                yield Configuration(state, done, used, dead)


def _events(steps: Sequence[Step]) -> list[tuple[float, bool, int]]:
    """Put calls and answers in order; at the same moment calls come first, which allows more."""
    calls = [(step.called, False, number) for number, step in enumerate(steps)]
    answers = [(step.returned, True, number) for number, step in enumerate(steps) if not step.unknown]
    return sorted([*calls, *answers])
