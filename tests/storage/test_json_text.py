"""What counts as JSON: exactly what RFC 8259 says, at most 128 deep, and nothing that Postgres would refuse."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from affix_server.json_text import MAX_DEPTH, fault

SCALARS = st.sampled_from(
    ["0", "-0.0", "1e400", "12345678901234567890", '""', '"[{\\"\\\\"', '"\\u0000"', "null", "true"]
)
DEEP = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[" + ",".join(items) + "]"),
        st.lists(st.tuples(st.sampled_from(['"a"', '"]}"', '"\\\\\\""']), inner), max_size=3).map(
            lambda pairs: "{" + ",".join(f"{name}: {value}" for name, value in pairs) + "}"
        ),
    ),
    max_leaves=30,
)


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max((depth(inner) for inner in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((depth(inner) for inner in value), default=0)
    return 0


@given(DEEP, st.integers(0, MAX_DEPTH + 2))
def test_depth_is_counted_exactly(text: str, wrapping: int) -> None:
    # Enough brackets that the count alone does not settle it.
    padded = f"[{text}, {','.join(['[]'] * MAX_DEPTH)}]"
    wrapped = "[" * wrapping + padded + "]" * wrapping
    # A later member of the same name hides an earlier one from Python, not from us.
    if '"a": ' in text and text.count('"a": ') > 1:
        return
    is_deep = wrapping + depth(json.loads(padded)) > MAX_DEPTH
    assert (fault(wrapped) is not None) == is_deep


@pytest.mark.parametrize("levels", [1_000, 10_000, 1_000_000])
def test_any_depth_is_answered(levels: int) -> None:
    assert fault("[" * levels + "]" * levels) == "must be at most 128 levels deep"
    assert fault("[" * levels) is not None


REFUSED = [
    *("", " ", "{", "[1,]", '{"a":1,}', "01", "1.", ".5", "+1", "NaN", "Infinity", "-", "1e", "tru", "nul"),
    *("[1 2]", '{"a" 1}', "{1:2}", '"abc', "1 2", "'a'", '"\\x"', '"\\u12"', '"\t"', '"\x00"', "\ufeff1"),
    *('"\\ud800"', '"\\ud800x"', '"\\udc00"', '"\\ud800\\ud800"', "\x0b1", "[1]]", "//c\n1"),
]


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_not_json_is_refused(text: str) -> None:
    assert fault(text) is not None


@given(st.one_of(DEEP, st.text(alphabet='{}[]",:\\ u0d8cef1.e-+tn\x00\x1f\x7fé😀', max_size=12)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
async def test_whatever_is_accepted_postgres_accepts_and_keeps(postgres: asyncpg.Connection, text: str) -> None:
    if fault(text) is None:
        assert await postgres.fetchval("SELECT $1::text::json", text) == text
