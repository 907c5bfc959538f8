"""The OpenRPC document as a judge of what is sent and answered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from typing import Any

from jsonschema import Draft7Validator, ValidationError
from jsonschema.validators import extend

from affix_cli import __version__
from affix_shim.openrpc.document import document
from tests.harness.jsonrpc_wire import JsonRpcWire

# As a client has it.
DOCUMENT: dict[str, Any] = json.loads(json.dumps(document(__version__)))
METHODS: dict[str, dict[str, Any]] = {method["name"]: method for method in DOCUMENT["methods"]}
# What JSON-RPC has for every method.
_OF_THE_ENVELOPE = frozenset({-32600, -32601})


def _pattern(_: Any, pattern: str, text: Any, __: Any) -> Iterator[ValidationError]:
    """As ECMA 262 has it, where `$` is the very end, and digits are ten."""
    ecma = rf"{pattern[:-1]}\Z" if pattern.endswith("$") else pattern
    if isinstance(text, str) and not re.search(ecma, text, re.ASCII):
        yield ValidationError(f"{text[:100]!r} does not match {pattern}")


_extend: Any = extend  # which has no types
_Validator: Any = _extend(Draft7Validator, {"pattern": _pattern})


def validator(schema: dict[str, Any], whole: dict[str, Any] = DOCUMENT) -> Any:
    """What validates against a schema of the document `whole`."""
    return _Validator({"allOf": [schema], "components": whole["components"]})


def closed(schema: Any) -> Any:
    """The same with members forbidden that are not described: a later version may add some, this one has none."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(each) for name, each in schema.items()}
    return {**made, "additionalProperties": False} if made.get("type") == "object" and "properties" in made else made


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    """A part of the document, or what it refers to."""
    if "$ref" not in part:
        return part
    found: Any = DOCUMENT
    for name in part["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return resolved(found)


_CLOSED = closed(deepcopy(DOCUMENT))


@cache
def params_of(method: str) -> Any:
    """What validates the parameters of a method."""
    return validator(METHODS[method]["x-params"])


@cache
def result_of(method: str) -> Any:
    """What validates its result, with no member more than is described."""
    return validator(closed(METHODS[method]["result"]["schema"]), _CLOSED)


@cache
def _error_data_of(method: str, code: int) -> Any:
    errors = {error["code"]: error for error in map(resolved, METHODS[method]["errors"])}
    assert code in errors, f"{method} is not said to fail with {code}"
    return validator(closed(errors[code]["data"]), _CLOSED)


@cache
def _notification() -> Any:
    return validator(METHODS["task.subscribe"]["x-notification"]["params"], _CLOSED)


def judge_notification(params: Any) -> None:
    """Hold the parameters of a notification against the document. Raises jsonschema.ValidationError."""
    _notification().validate(params)


def judge(request: Any, answer: Any) -> None:
    """Hold a call and its answer against the document. Raises AssertionError or jsonschema.ValidationError.

    Parameters that are answered with a result are as described, and so is the result, or the error.
    """
    method = request["method"]
    if method not in METHODS:
        return
    if "result" in answer:
        params_of(method).validate(request.get("params", {}))
        result_of(method).validate(answer["result"])
    elif answer["error"]["code"] not in _OF_THE_ENVELOPE:
        _error_data_of(method, answer["error"]["code"]).validate(answer["error"]["data"])


def _read(text: str) -> Any:
    # Python converts no number of thousands of digits; what an integer within a JSON value is does not matter.
    return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) < 100 else 0)


class DescribedWire(JsonRpcWire):
    """Holds each call and its answer against the document."""

    async def post(self, body: str, *, instance: str | None = None) -> str:
        text = await super().post(body, instance=instance)
        answer = _read(text)
        if isinstance(answer, dict) and "error" in answer and answer["error"]["code"] in {-32700, -32600}:
            return text  # it was no call
        request = _read(body)
        if isinstance(request, dict):
            judge(request, answer)
        elif isinstance(request, list) and len(request) == len(answer):
            for one, its_answer in zip(request, answer, strict=True):
                if isinstance(one, dict) and isinstance(one.get("method"), str):
                    judge(one, its_answer)
        return text
