"""What is answered is described, whatever is in it, and nothing is described that is never there."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from jsonschema import ValidationError

from affix_shim.methods import METHODS, SUBSCRIBE, UNSUBSCRIBE
from tests.discovery.samples import notifications, printed
from tests.harness import openrpc
from tests.harness.openrpc import DOCUMENT, closed, judge_notification, result_of, validator

# What the WebSocket answers is not made from messages; tests/discovery/test_method.py asks it.
ON_THE_WEBSOCKET: dict[str, list[Any]] = {
    SUBSCRIBE: [{"subscriptionId": "s-1", "resumeToken": "r"}],
    UNSUBSCRIBE: [{"subscriptionId": "s-1", "unsubscribed": True}],
}
ANSWERS: dict[str, list[Any]] = {**{method: printed(method) for method in METHODS}, **ON_THE_WEBSOCKET}


@pytest.mark.parametrize("method", openrpc.METHODS)
def test_every_answer_is_described(method: str) -> None:
    for answer in ANSWERS[method]:
        result_of(method).validate(answer)


def test_every_notification_is_described() -> None:
    for params in notifications():
        judge_notification(params)


def _objects(part: Any) -> Iterator[dict[str, Any]]:
    """Every schema that has properties, in a part of the document."""
    if isinstance(part, dict):
        if part.get("type") == "object" and "properties" in part:
            yield part
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from _objects(each)


def _described(whole: dict[str, Any]) -> list[dict[str, Any]]:
    """Every schema of an object that is about answers; errors have tests of their own."""
    schemas = whole["components"]["schemas"]
    parts = ("createdAttachment", "deletedAttachment", "attachment", "task", "event", "subscription")
    return [*_objects([schemas[name] for name in parts]), *_objects([one["result"] for one in whole["methods"]])]


def _accepts(whole: dict[str, Any]) -> bool:
    """Whether every sample is as a changed document describes it."""
    strict = closed(whole)
    for method in strict["methods"]:
        validate = validator(method["result"]["schema"], strict).validate
        told = strict["components"]["schemas"]["subscription"]
        try:
            for answer in ANSWERS[method["name"]]:
                validate(answer)
            if method["name"] == SUBSCRIBE:
                for params in notifications():
                    validator(told, strict).validate(params)
        except ValidationError:
            return False
    return True


PLACES = [(place, name) for place, schema in enumerate(_described(DOCUMENT)) for name in schema["properties"]]


def test_the_samples_are_as_described() -> None:
    assert _accepts(DOCUMENT)
    assert len(PLACES) > 80


@pytest.mark.parametrize(("place", "name"), PLACES)
def test_a_member_that_is_described_is_there_and_required_if_it_always_is(place: int, name: str) -> None:
    without = deepcopy(DOCUMENT)
    schema = _described(without)[place]
    del schema["properties"][name]
    assert not _accepts(without), f"no answer has {name}"
    if name not in schema["required"]:
        stricter = deepcopy(DOCUMENT)
        _described(stricter)[place]["required"].append(name)
        assert not _accepts(stricter), f"{name} is in every answer"
