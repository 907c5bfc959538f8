"""The judge of lists judged, and that of answers nobody may get."""

from __future__ import annotations

import pytest

from tests.faults.handmade import FIRST, SECOND, A, B, Handmade, Make, violations, written
from tests.faults.history import NEVER, Asked, Item
from tests.faults.report import impossible_answers


def whole_list(h: Handmade) -> None:
    h.create(0, 1, A, SECOND, "l")
    h.create(0, 1, B, FIRST, "k")
    h.list(2, 3, Item("k", B, FIRST), Item("l", A, SECOND))


def list_during_writes(h: Handmade) -> None:
    h.create(0, 1, A, FIRST, "k")
    h.create(2, 9, B, SECOND, "l")
    h.delete(2, 9, FIRST.id, "k")
    h.list(3, 4, Item("k", A, FIRST), Item("l", B, SECOND))
    h.list(5, 6, Item("l", B, SECOND))


def page_of_list(h: Handmade) -> None:
    whole_list(h)
    page = h.list(4, 5, Item("l", A, SECOND), asked=Asked(limit=1, offset=1))
    page.total_count = 2


def list_of_type(h: Handmade) -> None:
    h.create(0, 1, "json:1", FIRST)
    h.list(2, 3, asked=Asked(type="text"))
    h.create(4, 5, "text:2", FIRST)
    h.list(6, 7, Item("k", "text:2", FIRST), asked=Asked(type="text"))


@pytest.mark.parametrize("make", [whole_list, list_during_writes, page_of_list, list_of_type])
def test_a_good_list_is_accepted(make: Make) -> None:
    assert violations(make) == []


def missing_in_list(h: Handmade) -> None:
    whole_list(h)
    h.list(4, 5, Item("k", B, FIRST))


def missing_in_list_of_type(h: Handmade) -> None:
    list_of_type(h)
    h.list(8, 9, asked=Asked(type="text"))


def deleted_in_list(h: Handmade) -> None:
    whole_list(h)
    h.delete(4, 5, FIRST.id)
    h.list(6, 7, Item("k", B, FIRST), Item("l", A, SECOND))


def wrong_order(h: Handmade) -> None:
    whole_list(h)
    h.list(4, 5, Item("l", A, SECOND), Item("k", B, FIRST))


def twice_in_list(h: Handmade) -> None:
    h.create(0, 1, A, FIRST)
    h.list(2, 3, Item("k", A, FIRST), Item("k", A, FIRST))


def total_count_differs(h: Handmade) -> None:
    whole_list(h)
    h.list(4, 5, Item("k", B, FIRST), Item("l", A, SECOND)).total_count = 3


def short_page(h: Handmade) -> None:
    whole_list(h)
    page = h.list(4, 5, asked=Asked(limit=1))
    page.total_count, page.has_more = 2, True


def has_more_is_wrong(h: Handmade) -> None:
    page_of_list(h)
    h.history.operations[-1].has_more = True


def another_type_in_list(h: Handmade) -> None:
    whole_list(h)
    h.list(4, 5, Item("k", B, FIRST), Item("l", A, SECOND), asked=Asked(type="json"))


def stale_value_in_list(h: Handmade) -> None:
    written(h)
    h.list(4, 5, Item("k", A, FIRST))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (missing_in_list, "'l' is not in it and was there all the time"),
        (missing_in_list_of_type, "nothing explains"),
        (deleted_in_list, "'k' is in it and was absent all the time"),
        (wrong_order, "'l' of 2 before 'k' of 1"),
        (twice_in_list, "'k' of 1 before 'k' of 1"),
        (total_count_differs, "it has 2 of a total of 3"),
        (short_page, "it has 0 of a total of 2"),
        (has_more_is_wrong, "hasMore is True"),
        (another_type_in_list, "are of another type"),
        (stale_value_in_list, "nothing explains"),
    ],
)
def test_a_bad_list_is_rejected(make: Make, said: str) -> None:
    assert any(said in violation for violation in violations(make))


@pytest.mark.parametrize(
    "make", [lambda h: h.create(0, NEVER, A), lambda h: h.miss(0, 1, kind="get"), lambda h: h.delete(0, NEVER)]
)
def test_what_is_uncertain_is_no_reason_to_reject_a_list(make: Make) -> None:
    def uncertain(h: Handmade) -> None:
        make(h)
        h.list(2, 3)

    assert violations(uncertain) == []


@pytest.mark.parametrize(
    ("error", "possible"),
    [
        ("-32500 Database connection timeout", True),
        ("-32001 CIRCUIT_OPEN", True),
        ("late", True),
        ("-32602 TASK_NOT_FOUND", False),
        ("-32602 INVALID_PARAMS", False),
        ("-32603 INTERNAL", False),
    ],
)
def test_an_answer_that_no_call_of_ours_may_get_is_rejected(error: str, possible: bool) -> None:  # noqa: FBT001 - as above
    made = Handmade()
    made.create(0, NEVER, A).error = error
    assert (impossible_answers(made.history.operations) == []) is possible
