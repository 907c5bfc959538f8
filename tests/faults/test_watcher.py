"""What a record of events is judged by, on records made by hand."""

from __future__ import annotations

import pytest

from tests.faults.history import History, Operation, Outcome, Ref
from tests.faults.watcher import Gap, Record

REF = Ref("t", "k")


def _write(revision: int, called: float) -> Operation:
    return Operation(
        "c", "create", "t", ("k",), called, called + 0.1, value="text:1", outcome=Outcome.OK, revision=revision
    )


def _history(*revisions: int) -> History:
    return History({"t": ("k",)}, [_write(revision, 10.0 * revision) for revision in revisions])


def _record(*stretches: list[int], gaps: tuple[Gap, ...] = ()) -> Record:
    return Record(stretches=[{REF: stretch} for stretch in stretches], gaps=list(gaps))


def test_all_told_in_order_is_right() -> None:
    assert _record([1, 2, 3]).violations(_history(1, 2, 3)) == []


def test_what_nobody_knows_the_outcome_of_may_be_told() -> None:
    assert _record([1, 2, 3]).violations(_history(1, 3)) == []


@pytest.mark.parametrize("told", [[1, 3, 2], [1, 2, 2, 3]])
def test_out_of_order_or_twice_is_wrong(told: list[int]) -> None:
    assert len(_record(told).violations(_history(1, 2, 3))) == 1


def test_what_was_acknowledged_and_not_told_is_wrong() -> None:
    assert len(_record([1, 3]).violations(_history(1, 2, 3))) == 1


def test_what_fell_into_a_gap_need_not_be_told() -> None:
    assert _record([1], [3], gaps=(Gap(15.0, 25.0),)).violations(_history(1, 2, 3)) == []


def test_a_gap_excuses_only_what_fell_into_it() -> None:
    assert len(_record([1], [3], gaps=(Gap(35.0, 37.0),)).violations(_history(1, 2, 3))) == 1
