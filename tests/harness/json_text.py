"""JSON as text: sliced and glued, never re-printed, so that tests compare bytes.

Deliberately not the parser of the code under test.
"""

from __future__ import annotations

import json
from typing import Any

from tests.harness.wire import RawJson

# Numbers stay text: only the extent of a value matters here, and int() refuses 4,300 digits and more.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)
_RAW_MEMBERS = frozenset({"value", "metadata"})
_LIST_MEMBERS = frozenset({"attachments", "tasks"})


def dump(value: Any) -> RawJson:
    """Print a value, with the RawJson in it as it stands."""
    if isinstance(value, RawJson):
        return value
    if isinstance(value, dict):
        return RawJson("{" + ",".join(f"{json.dumps(name)}:{dump(member)}" for name, member in value.items()) + "}")
    if isinstance(value, list | tuple):
        return RawJson("[" + ",".join(map(dump, value)) + "]")
    return RawJson(json.dumps(value, ensure_ascii=False))


def _skip(text: str, at: int) -> int:
    while text[at] in " \t\n\r":
        at += 1
    return at


def _expect(text: str, at: int, token: str) -> int:
    assert text[at] == token, f"{token!r} expected at {at} of {text[:200]!r}"
    return _skip(text, at + 1)


def _value(text: str, at: int) -> tuple[RawJson, int]:
    _, end = _DECODER.raw_decode(text, at)
    return RawJson(text[at:end]), end


def members(text: str) -> dict[str, RawJson]:
    """Slice the members of an object, each value as its text; a name given twice is an error."""
    at = _expect(text, _skip(text, 0), "{")
    found: dict[str, RawJson] = {}
    while text[at] != "}":
        if found:
            at = _expect(text, at, ",")
        name, at = _DECODER.raw_decode(text, at)
        value, at = _value(text, _expect(text, _skip(text, at), ":"))
        assert name not in found, f"{name!r} twice in {text[:200]!r}"
        found[name] = value
        at = _skip(text, at)
    return found


def elements(text: str) -> list[RawJson]:
    """Slice the elements of an array, each as its text."""
    at = _expect(text, _skip(text, 0), "[")
    found: list[RawJson] = []
    while text[at] != "]":
        if found:
            at = _expect(text, at, ",")
        value, at = _value(text, at)
        found.append(value)
        at = _skip(text, at)
    return found


def read_result(text: str) -> dict[str, Any]:
    """Read a result into the neutral form: `value` and `metadata` as RawJson, the rest parsed."""
    return {name: _read_member(name, value) for name, value in members(text).items()}


def _read_member(name: str, text: RawJson) -> Any:
    if name in _RAW_MEMBERS:
        return text
    if name in _LIST_MEMBERS:
        return [None if element == "null" else read_result(element) for element in elements(text)]
    return json.loads(text)
