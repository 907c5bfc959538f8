"""What one key may hold, and what each step does to it: the sequential specification.

A key is absent, or holds a value and an identity (design/storage.md, invariant 5).
A create on an absent key gives it an identity that was never seen before; on a
key that is there it keeps the identity. A write accepted while Postgres is away
answers with a provisional identity that may give way, once, to the row's
(design/storage.md, "Postgres away"); until then reads may show either.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from tests.faults.history import Action, Identity, Step

# A provisional identity that nobody has been told of.
UNTOLD = Identity("?", 0)


class Held(NamedTuple):
    """What is under a key: `identity` is None while nobody has seen it, `provisional` while there is none."""

    value: str
    identity: Identity | None
    provisional: Identity | None


State = Held | None
# The state after a step, and the ids that must never be seen again, as a bit mask.
After = tuple[State, int]


@dataclass(frozen=True, slots=True)
class Model:
    """The specification of one key; steps are applied in the order in which they took effect.

    With `pending_possible`, a write whose outcome is unknown may have been
    accepted as pending, with an identity that nobody was told.
    """

    bits: dict[str, int]
    pending_possible: bool = False

    @classmethod
    def of(cls, steps: Iterable[Step], *, pending_possible: bool) -> Model:
        """Know all ids of a history in advance."""
        bits: dict[str, int] = {}
        for step in steps:
            name = step.identity.id if step.identity is not None else step.deleted_id
            if name:
                bits.setdefault(name, 1 << len(bits))
        return cls(bits, pending_possible)

    def apply(self, step: Step, state: State, dead: int) -> After | None:
        """Let a step take effect; None if it could not have had its answer then."""
        match step.action:
            case Action.CREATE:
                return self._create(step, state, dead)
            case Action.DELETE:
                return self._delete(step, state, dead)
            case Action.FOUND:
                return self._found(step, state, dead)
            case Action.ABSENT:
                other_type = state is not None and step.type is not None and not state.value.startswith(step.type + ":")
                return (state, dead) if state is None or other_type else None

    def _create(self, step: Step, state: State, dead: int) -> After | None:
        told = step.identity
        identity, provisional = (None, None) if state is None else (state.identity, state.provisional)
        if told is None:
            return Held(step.value, identity, UNTOLD if self.pending_possible else provisional), dead
        if self._is_dead(told.id, dead):
            return None
        if step.pending:
            return Held(step.value, identity, provisional if told == identity else told), dead
        # What is no longer pending has its row, and the row's identity.
        return (Held(step.value, told, None), dead) if identity in {None, told} else None

    def _delete(self, step: Step, state: State, dead: int) -> After | None:
        if state is None:
            # Deleting nothing is answered with "not found"; unanswered it does nothing.
            return None
        gone = dead | self._bit(state.identity) | self._bit(state.provisional)
        if step.unknown:
            return None, gone
        known = {each.id for each in (state.identity, state.provisional) if each is not None}
        unseen = state.identity is None or state.provisional == UNTOLD
        if step.deleted_id in known or (unseen and not self._is_dead(step.deleted_id, dead)):
            return None, gone | self.bits[step.deleted_id]
        return None

    def _found(self, step: Step, state: State, dead: int) -> After | None:
        seen = step.identity
        if state is None or seen is None or state.value != step.value:
            return None
        if seen == state.provisional:
            return state, dead
        if seen == state.identity:
            return Held(state.value, seen, None), dead
        if self._is_dead(seen.id, dead):
            return None
        if state.provisional == UNTOLD:
            return Held(state.value, state.identity, seen), dead
        return (Held(state.value, seen, None), dead) if state.identity is None else None

    def _bit(self, identity: Identity | None) -> int:
        return 0 if identity is None else self.bits.get(identity.id, 0)

    def _is_dead(self, name: str, dead: int) -> bool:
        return bool(dead & self.bits[name])
