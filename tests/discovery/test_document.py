"""The document is what OpenRPC 1.3.2 asks for, and has each method once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft7Validator

from affix_server.domain import EventKind
from affix_shim.errors import TABLE
from affix_shim.methods import METHODS, NEED_WEBSOCKET
from affix_shim.openrpc.answers import ANSWERS
from affix_shim.openrpc.document import WORDS
from affix_shim.openrpc.failures import CODES
from affix_shim.openrpc.parameters import PARAMETERS
from tests.harness import openrpc
from tests.harness.grpc_errors import TABLE as CONTRACT
from tests.harness.openrpc import DOCUMENT, resolved

_TEXT = {"type": "string", "minLength": 1}
_SCHEMA = {"$ref": "http://json-schema.org/draft-07/schema#"}
_REF = {"type": "object", "properties": {"$ref": _TEXT}, "required": ["$ref"], "additionalProperties": False}


def _of(required: dict[str, Any], optional: dict[str, Any] | None = None, *, extended: bool = True) -> dict[str, Any]:
    """An object of OpenRPC: these members, and extensions."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "patternProperties": {"^x-": {}} if extended else {},
        "additionalProperties": False,
    }


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


# OpenRPC 1.3.2, as far as the document goes.
_DESCRIPTOR = _of({"name": _TEXT, "schema": _SCHEMA}, {"required": {"type": "boolean"}})
_ERROR = _of({"code": {"type": "integer"}, "message": _TEXT}, {"data": {}}, extended=False)
_TAG = _of({"name": _TEXT}, {"description": _TEXT})
_METHOD = _of(
    {"name": _TEXT, "params": _array(_DESCRIPTOR), "result": _DESCRIPTOR},
    {
        "summary": _TEXT,
        "paramStructure": {"enum": ["by-name", "by-position", "either"]},
        "errors": _array(_REF),
        "tags": _array(_REF),
    },
)
_COMPONENTS = {
    "type": "object",
    "properties": {
        "schemas": {"type": "object", "additionalProperties": _SCHEMA},
        "errors": {"type": "object", "additionalProperties": _ERROR},
        "tags": {"type": "object", "additionalProperties": _TAG},
    },
    "additionalProperties": False,
}
_DOCUMENT = _of(
    {
        "openrpc": {"const": "1.3.2"},
        "info": _of({"title": _TEXT, "version": _TEXT}, {"description": _TEXT}),
        "methods": _array(_METHOD),
    },
    {"components": _COMPONENTS},
)


def test_it_is_as_openrpc_has_it() -> None:
    Draft7Validator.check_schema(_DOCUMENT)
    Draft7Validator(_DOCUMENT).validate(DOCUMENT)


def test_it_has_every_method_and_no_other() -> None:
    assert [method["name"] for method in DOCUMENT["methods"]] == [*METHODS, *sorted(NEED_WEBSOCKET)]
    assert WORDS.keys() == PARAMETERS.keys() == ANSWERS.keys() == {*METHODS, *NEED_WEBSOCKET}


def test_what_needs_the_websocket_is_marked() -> None:
    marked = {name for name, method in openrpc.METHODS.items() if "tags" in method}
    assert marked == NEED_WEBSOCKET
    assert {resolved(tag)["name"] for name in marked for tag in openrpc.METHODS[name]["tags"]} == {"websocket"}


def _refs(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for name, each in part.items():
            if name == "$ref":
                yield each
            yield from _refs(each)
    elif isinstance(part, list):
        for each in part:
            yield from _refs(each)


def test_every_reference_leads_somewhere_and_every_component_is_used() -> None:
    there = {f"#/components/{kind}/{name}" for kind, all_ in DOCUMENT["components"].items() for name in all_}
    assert set(_refs(DOCUMENT)) == there


def test_nothing_stands_beside_a_reference() -> None:
    """Draft 7 passes over what does."""

    def beside(part: Any) -> Iterator[Any]:
        if isinstance(part, dict):
            if "$ref" in part and len(part) > 1:
                yield part
            part = list(part.values())
        if isinstance(part, list):
            for each in part:
                yield from beside(each)

    assert list(beside(DOCUMENT)) == []


@pytest.mark.parametrize("name", openrpc.METHODS)
def test_the_parameters_one_by_one_are_those_together(name: str) -> None:
    method, together = openrpc.METHODS[name], resolved(openrpc.METHODS[name]["x-params"])
    assert {one["name"]: one["schema"] for one in method["params"]} == together["properties"]
    assert sorted(one["name"] for one in method["params"] if one["required"]) == sorted(together["required"])
    required = [one["required"] for one in method["params"]]
    assert required == sorted(required, reverse=True)
    assert together["additionalProperties"] is False


@pytest.mark.parametrize("name", openrpc.METHODS)
def test_a_code_is_one_error_of_a_method(name: str) -> None:
    codes = [resolved(error)["code"] for error in openrpc.METHODS[name]["errors"]]
    assert len(codes) == len(set(codes))


def test_the_errors_are_those_of_the_tables() -> None:
    assert {"INVALID_PARAMS", *TABLE, "INTERNAL"} == CODES.keys()
    assert {reason: code for reason, (_, code) in CONTRACT.items()} == CODES
    told = {reason for words in WORDS.values() for reason in words.reasons}
    assert told == CODES.keys() - {"SLOW_WATCHER"}  # which ends a watch, and is never an answer


def test_the_events_are_those_that_watchers_are_told_of() -> None:
    events = DOCUMENT["components"]["schemas"]["event"]["oneOf"]
    told = [word for event in events for word in event["properties"]["type"]["enum"]]
    assert sorted(told) == sorted(kind.value for kind in EventKind if kind is not EventKind.STARTED)
