"""The judge of single keys judged: good histories are accepted, each kind of bad one is rejected."""

from __future__ import annotations

import random

import pytest

from tests.faults.handmade import (
    FIRST,
    SECOND,
    THIRD,
    A,
    B,
    C,
    Handmade,
    Make,
    random_steps,
    search_naively,
    violations,
    written,
)
from tests.faults.history import NEVER, Identity, Item
from tests.faults.linearizability import check, is_linearizable, is_part, since
from tests.faults.model import Model
from tests.faults.run import judge


def overwrite(h: Handmade) -> None:
    written(h)
    h.get(4, 5, B, FIRST)


def read_during_overwrite(h: Handmade) -> None:
    h.create(0, 1, A, FIRST)
    h.create(2, 9, B, FIRST)
    h.get(3, 4, A, FIRST)
    h.get(5, 6, B, FIRST)


def delete_and_create(h: Handmade) -> None:
    written(h)
    h.delete(4, 5, FIRST.id)
    h.miss(6, 7)
    h.miss(8, 9, kind="delete")
    h.create(10, 11, C, SECOND)
    h.get(12, 13, C, SECOND)


def late_effect(h: Handmade) -> None:
    """A write without an answer takes effect long after."""
    written(h)
    h.create(4, NEVER, C)
    h.get(5, 6, B, FIRST)
    h.get(7, 8, C, FIRST)


def unknown_never_happened(h: Handmade) -> None:
    written(h)
    h.create(4, NEVER, C)
    h.delete(5, NEVER)
    h.get(20, 21, B, FIRST)


def unknown_delete_and_create(h: Handmade) -> None:
    written(h)
    h.delete(4, NEVER)
    h.create(5, NEVER, C)
    h.get(6, 7, C, SECOND)
    h.create(8, 9, "text:d", SECOND)


def unread_create_made_it_present(h: Handmade) -> None:
    """Nobody reads the value of the unknown create, but the key is there."""
    h.create(0, NEVER, A)
    h.delete(2, 3, FIRST.id)


GOOD: list[Make] = [
    overwrite,
    read_during_overwrite,
    delete_and_create,
    late_effect,
    unknown_never_happened,
    unknown_delete_and_create,
    unread_create_made_it_present,
]


@pytest.mark.parametrize("make", GOOD)
def test_a_good_history_is_accepted(make: Make) -> None:
    assert violations(make) == []


def stale_read(h: Handmade) -> None:
    written(h)
    h.get(4, 5, A, FIRST)


def new_and_then_old(h: Handmade) -> None:
    """The overwrite is under way all the time, yet the second read is older than the first."""
    h.create(0, 1, A, FIRST)
    h.create(2, 9, B, FIRST)
    h.get(3, 4, B, FIRST)
    h.get(5, 6, A, FIRST)


def lost_write(h: Handmade) -> None:
    h.create(0, 1, A, FIRST)
    h.miss(2, 3)


def lost_overwrite_after_a_crash(h: Handmade) -> None:
    """An unknown write explains a new value, never the old one instead of an acknowledged one."""
    written(h)
    h.create(4, NEVER, C)
    h.get(5, 6, C, FIRST)
    h.get(7, 8, B, FIRST)


def resurrected(h: Handmade) -> None:
    written(h)
    h.delete(4, 5, FIRST.id)
    h.get(6, 7, B, FIRST)


def resurrected_much_later(h: Handmade) -> None:
    delete_and_create(h)
    h.delete(14, 15, SECOND.id)
    h.miss(16, 17)
    h.get(18, 19, C, SECOND)


def deleted_twice(h: Handmade) -> None:
    written(h)
    h.delete(4, 5, FIRST.id)
    h.delete(6, 7, FIRST.id)


def delete_denied(h: Handmade) -> None:
    written(h)
    h.miss(4, 5, kind="delete")


def id_changed(h: Handmade) -> None:
    written(h)
    h.get(4, 5, B, SECOND)


def creation_time_changed(h: Handmade) -> None:
    written(h)
    h.get(4, 5, B, Identity(FIRST.id, 99))


def id_changed_by_overwrite(h: Handmade) -> None:
    h.create(0, 1, A, FIRST)
    h.create(2, 3, B, SECOND)


def id_lived_twice(h: Handmade) -> None:
    written(h)
    h.delete(4, 5, FIRST.id)
    h.create(6, 7, C, FIRST)


def value_from_nowhere(h: Handmade) -> None:
    written(h)
    h.get(4, 5, C, FIRST)


def value_from_the_future(h: Handmade) -> None:
    h.get(0, 1, A, FIRST)
    h.create(2, 3, A, FIRST)


def happened_twice(h: Handmade) -> None:
    """A write without an answer may come late, but not again after it was overwritten."""
    h.create(0, NEVER, A)
    h.get(1, 2, A, FIRST)
    h.create(3, 4, B, FIRST)
    h.get(5, 6, A, FIRST)


def batch_is_stale(h: Handmade) -> None:
    written(h)
    h.create(0, 1, C, SECOND, "l")
    batch = h.add("batch", 4, 5)
    batch.keys, batch.items = ("k", "l"), (Item("k", A, FIRST), Item("l", C, SECOND))


BAD: list[Make] = [
    stale_read,
    new_and_then_old,
    lost_write,
    lost_overwrite_after_a_crash,
    resurrected,
    resurrected_much_later,
    deleted_twice,
    delete_denied,
    id_changed,
    creation_time_changed,
    id_changed_by_overwrite,
    id_lived_twice,
    value_from_nowhere,
    value_from_the_future,
    happened_twice,
    batch_is_stale,
]


@pytest.mark.parametrize("make", BAD)
@pytest.mark.parametrize("pending_possible", [False, True])
def test_a_bad_history_is_rejected(make: Make, pending_possible: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    found = violations(make, pending_possible=pending_possible)
    assert len(found) == 1
    assert "key 'k' of task t: nothing explains" in found[0]


def test_the_explanation_shows_what_matters_and_no_more() -> None:
    made = Handmade()
    for number in range(10):
        made.create(10 * number, 10 * number + 1, f"text:{number}", FIRST)
        made.get(10 * number + 2, 10 * number + 3, f"text:{number}", FIRST)
    made.get(95, 96, "text:7", FIRST)
    made.get(97, 98, "text:9", FIRST)
    (found,) = judge(made.history, pending_possible=False)
    shown = [line for line in found.splitlines() if "text:" in line]
    assert len(shown) <= 7
    assert "text:9 with ta-1" in found
    assert any(line.startswith("  ->") and "text:7, ta-1" in line for line in shown)
    assert any("create text:7" in line for line in shown)


# Identities of writes accepted while Postgres is away


def provisional(h: Handmade) -> None:
    """A key that Redis could neither find nor deny: the new id gives way to the row's."""
    h.create(0, 1, A, FIRST)
    h.create(2, 3, B, SECOND).pending = True
    h.get(4, 5, B, SECOND)
    h.get(6, 7, B, FIRST)


def provisional_for_good(h: Handmade) -> None:
    h.create(2, 3, B, SECOND).pending = True
    h.get(4, 5, B, SECOND)
    h.create(6, 7, C, SECOND)
    h.get(8, 9, C, SECOND)


@pytest.mark.parametrize("make", [provisional, provisional_for_good])
def test_a_provisional_id_may_give_way_once(make: Make) -> None:
    assert violations(make) == []


def back_to_provisional(h: Handmade) -> None:
    provisional(h)
    h.get(8, 9, B, SECOND)


def third_identity(h: Handmade) -> None:
    provisional(h)
    h.get(8, 9, B, THIRD)


def id_of_the_deleted(h: Handmade) -> None:
    """A pending create after a delete has a new id, and it does not give way to the old row's."""
    h.create(0, 1, A, FIRST)
    h.delete(2, 3, FIRST.id).pending = True
    h.create(4, 5, B, SECOND).pending = True
    h.get(6, 7, B, FIRST)


def pending_value_lost(h: Handmade) -> None:
    provisional(h)
    h.get(8, 9, A, FIRST)


@pytest.mark.parametrize("make", [back_to_provisional, third_identity, id_of_the_deleted, pending_value_lost])
def test_a_provisional_id_excuses_nothing_else(make: Make) -> None:
    assert len(violations(make, pending_possible=True)) == 1


@pytest.mark.parametrize("pending", [False, True])
def test_the_search_agrees_with_one_that_tries_every_order(pending: bool) -> None:  # noqa: FBT001 - as above
    verdicts = set()
    for seed in range(4000):
        steps = random_steps(random.Random(seed), pending=pending)  # noqa: S311 - the same histories every time
        expected = search_naively(steps, Model.of(steps, pending_possible=pending))
        assert is_linearizable(steps, pending_possible=pending) is expected, f"seed {seed}: {steps}"
        assert (check(steps, pending_possible=pending) is None) is expected
        verdicts.add(expected)
        if expected:
            parts = [since(steps, moment) for moment in range(20)]
            assert all(is_part(part, steps, pending_possible=pending) for part in parts), f"seed {seed}"
    assert verdicts == {False, True}
