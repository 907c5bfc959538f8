"""Judges lists as a whole: everything that must be there is, in order, and the numbers agree.

Beside this, each line of a list is a read of its key, and each key that a whole
list lacks was read as absent: history.py makes them steps for the checker of
linearizability, which sees what this one, looking only at certainties, cannot.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise

from tests.faults.history import NEVER, Action, History, Operation, Outcome, Ref, Step

_ALWAYS = -NEVER


class _Latest:
    """Among things with a beginning and an end: the greatest of one for a bound on the other."""

    def __init__(self, pairs: Iterable[tuple[float, float]]) -> None:
        ordered = sorted(pairs)
        self._bounds = [bound for bound, _ in ordered]
        self._greatest = list(accumulate((value for _, value in ordered), max))

    def before(self, bound: float) -> float | None:
        """Return the greatest value whose bound is less, None if there is none."""
        place = bisect_left(self._bounds, bound)
        return self._greatest[place - 1] if place else None


class Certainty:
    """When a key was certainly there, and when it certainly was not."""

    def __init__(self, steps: Sequence[Step]) -> None:
        """Take the steps of one key that are no lines of lists; it is absent in the beginning."""
        there = [step for step in steps if step.action is Action.FOUND or _is_done(step, Action.CREATE)]
        gone = [step for step in steps if step.action is Action.ABSENT or _is_done(step, Action.DELETE)]
        self._there = _Latest((step.returned, step.called) for step in there)
        self._gone = _Latest([(_ALWAYS, _ALWAYS), *((step.returned, step.called) for step in gone)])
        self._creates = _Latest((step.called, step.returned) for step in steps if step.action is Action.CREATE)
        self._deletes = _Latest((step.called, step.returned) for step in steps if step.action is Action.DELETE)

    def present(self, called: float, returned: float) -> bool:
        """Tell whether it was there throughout: seen there before, and no delete could have come between."""
        return _lasted(self._there.before(called), self._deletes.before(returned))

    def absent(self, called: float, returned: float) -> bool:
        """Tell whether it was absent throughout: seen absent before, and no create could have come between."""
        return _lasted(self._gone.before(called), self._creates.before(returned))


def _is_done(step: Step, action: Action) -> bool:
    return step.action is action and not step.unknown


def _lasted(seen_from: float | None, undone_until: float | None) -> bool:
    return seen_from is not None and (undone_until is None or undone_until < seen_from)


def check_lists(history: History, steps: dict[Ref, list[Step]]) -> list[str]:
    """Return what is wrong with the lists of a history, a line each."""
    others = {ref: [step for step in own if step.source.kind != "list"] for ref, own in steps.items()}
    known = {ref: Certainty(others.get(ref, ())) for ref in history.refs}
    return [
        f"list of task {operation.task} by {operation.client}: {fault}\n{_around(history, operation)}"
        for operation in history.operations
        if operation.kind == "list" and operation.outcome is Outcome.OK and not operation.degraded
        for fault in (*_numbers(operation), *_order(operation), *_members(operation, history, known))
    ]


def _around(history: History, operation: Operation) -> str:
    """Show a list and the writes on its task that overlap it, and those just before."""
    asked, zero = operation.asked, operation.called
    lines = [
        f"  asked for {asked.limit} from {asked.offset} of type {asked.type}, {_span(operation, zero)}, the answer:"
    ]
    lines += [
        f"    {item.key!r} {item.value}, {item.identity.id} of {item.identity.created_at}" for item in operation.items
    ]
    writes = [each for each in history.operations if each.task == operation.task and each.kind in {"create", "delete"}]
    near = [each for each in writes if each.called < operation.returned and each.returned > operation.called - 0.1]
    lines.append("  writes on the task meanwhile, and in the 100 ms before:")
    for each in near[-20:]:
        told = each.deleted_id if each.identity is None else f"{each.identity.id} of {each.identity.created_at}"
        what = f"{each.kind} {each.keys[0]!r} {each.value or ''} -> {each.outcome.value} {told}"
        lines.append(f"    {_span(each, zero)} {each.client}: {what}")
    return "\n".join(lines)


def _span(operation: Operation, zero: float) -> str:
    return f"{(operation.called - zero) * 1000:.1f} to {(operation.returned - zero) * 1000:.1f} ms"


def _numbers(operation: Operation) -> Iterator[str]:
    """Find out whether the numbers of a page agree with each other (design/contract.md: `hasMore` is exact)."""
    asked, total, length = operation.asked, operation.total_count, len(operation.items)
    if length != min(asked.limit, max(total - asked.offset, 0)):
        yield f"it has {length} of a total of {total}"
    if operation.has_more != (asked.offset + length < total):
        yield f"hasMore is {operation.has_more}, with {length} of a total of {total}"


def _order(operation: Operation) -> Iterator[str]:
    for first, second in pairwise(operation.items):
        if (first.identity.created_at, first.key) >= (second.identity.created_at, second.key):
            yield f"{first.key!r} of {first.identity.created_at} before {second.key!r} of {second.identity.created_at}"


def _members(operation: Operation, history: History, known: dict[Ref, Certainty]) -> Iterator[str]:
    listed = {item.key for item in operation.items}
    span = (operation.called, operation.returned)
    for key in history.tasks[operation.task]:
        certainty = known[Ref(operation.task, key)]
        if key in listed and certainty.absent(*span):
            yield f"{key!r} is in it and was absent all the time"
        if key not in listed and operation.whole and operation.asked.type is None and certainty.present(*span):
            yield f"{key!r} is not in it and was there all the time"
    wrong = [item.key for item in operation.items if not item.value.startswith(operation.asked.type or "")]
    if wrong:
        yield f"{wrong} are of another type"
    for key in sorted(listed.difference(history.tasks[operation.task])):
        yield f"{key!r} is in it and was never written"
