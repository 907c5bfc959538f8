"""A JSON value keeps its text: whatever goes in on one wire comes out on the others, from either store."""

from __future__ import annotations

import json
import secrets

import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from tests.harness.samples import batch, create, get, json_value, page
from tests.harness.stores import Flush
from tests.harness.wire import Result, Wire

DEPTH = 128

_space = st.sampled_from(["", "", "", " ", "\n", "\t ", "\r\n"])
_integer = st.integers(-(10**40), 10**40).map(str)
_float = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["0", "-0", "1", "-9007199254740993", "12345678901234567890"]),
    st.sampled_from(["", ".0", ".10", ".5000000000000000000001"]),
    st.sampled_from(["e", "E", "e+", "e-", "E+0"]),
    st.sampled_from(["0", "2", "05", "400"]),
)
_number = st.one_of(_integer, _float, st.sampled_from(["1.0", "1e2", "-0.0", "-0", "1E+400", "0.10", "5e-324"]))
_escape = st.sampled_from(
    ["\\u0000", "\\ud83e\\uddea", "\\uD83E\\uDDEA", "\\u00e9", "\\u00E9", "\\/", "\\\\", '\\"', "\\n", "\\b", "\\u001f"]
)
_plain = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\')
_piece = st.one_of(_escape, _plain, st.sampled_from(["\x7f", "\x85", "\u2028", "🧪"]))
_string = st.lists(_piece, max_size=8).map(lambda pieces: '"' + "".join(pieces) + '"')
_scalar = st.one_of(_number, _string, st.sampled_from(["true", "false", "null"]))


def _array(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    element = st.tuples(_space, children, _space).map("".join)
    return st.tuples(_space, st.lists(element, max_size=4)).map(lambda parts: f"[{','.join(parts[1]) or parts[0]}]")


def _object(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    name = st.one_of(_string, st.sampled_from(['"a"', '"\\u0061"', '"b"', '""']))
    member = st.tuples(_space, name, _space, st.just(":"), _space, children, _space).map("".join)
    return st.tuples(_space, st.lists(member, max_size=5)).map(
        lambda parts: "{" + (",".join(parts[1]) or parts[0]) + "}"
    )


def _wrap(text: str, levels: int) -> str:
    """Put brackets and braces in turn around a value."""
    for level in range(levels):
        text = f"[{text}]" if level % 2 else f'{{"n": {text} }}'
    return text


_tree = st.recursive(_scalar, lambda children: st.one_of(_array(children), _object(children)), max_leaves=12)
# A tree of 12 leaves is far less than 40 levels deep.
_texts = st.one_of(
    _tree, st.builds(_wrap, _tree, st.integers(1, DEPTH - 40)), st.builds(_wrap, _scalar, st.just(DEPTH))
)


@pytest.fixture(scope="module")
async def shared_task(wires: dict[str, Wire]) -> str:
    task = f"t-{secrets.token_hex(8)}"
    await wires["grpc"].call("task.create", {"id": task, "text": "lossless"})
    return task


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(text=_texts)
@example(text='{"id": 12345678901234567890, "x": 1.0}')
@example(text='{"b": 1, "a": 2, "b": 3, "\\u0062": 4}')
@example(text="1" * 5000)
@example(text="[9007199254740993, 1e2, -0.0, 1E+400, 0.10]")
async def test_a_json_text_is_read_byte_for_byte_as_it_was_written(
    wires: dict[str, Wire], shared_task: str, redis: Redis, postgres: asyncpg.Connection, flush: Flush, text: str
) -> None:
    json.JSONDecoder(parse_int=str).decode(text)
    for name, wire in wires.items():
        await create(wire, shared_task, name, json_value(text))
    await _reads(wires, shared_task, text)
    for name in wires:
        assert await redis.hget(f"cb:task:{shared_task}:attachment:{name}", "value") == text
    await flush()
    await _reads(wires, shared_task, text)
    kept = await postgres.fetch("SELECT value FROM task_attachments WHERE task_id = $1", shared_task)
    assert [row["value"] for row in kept] == [text] * len(wires)


async def _reads(wires: dict[str, Wire], task: str, text: str) -> None:
    """Every wire reads this text, whoever wrote it, from every method that answers with attachments."""
    refs = [(task, name) for name in wires]
    for wire in wires.values():
        found: list[Result] = [await get(wire, *ref) for ref in refs]
        found += await batch(wire, *refs)
        found += (await page(wire, task))["attachments"]
        assert [attachment["value"] for attachment in found] == [text] * len(found)
        assert len(found) == 3 * len(wires)
