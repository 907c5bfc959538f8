"""The reader of parameters, whatever the method."""

from __future__ import annotations

import pytest
from msgspec import Raw

from affix_shim.params import open_params
from affix_shim.violations import Violation


def test_objects_within_objects_are_named_by_their_path() -> None:
    violations: list[Violation] = []
    params = open_params(Raw('{"a":{"b":[{},{"c":1}],"d":[]}}'), violations)
    assert params is not None
    within = params.object("a")
    assert within is not None
    for each in within.objects("b"):
        each.string("c", required=True)
    assert within.object("d") is None
    assert violations == [
        Violation("a.b[0].c", "is required"),
        Violation("a.b[1].c", "must be a string, not a number"),
        Violation("a.d", "must be an object, not an array"),
    ]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{}", {}),
        ('{"taskId":"t","key":"k","text":"x"}', {"taskId": "t", "key": "k"}),
        ('{"id":"t"}', {"taskId": "t"}),
        ('{"id":"t","taskId":"u"}', {"taskId": "u"}),
        ('{"taskId":1,"key":null}', {}),
    ],
)
def test_an_error_can_say_which_task_and_key_were_meant(text: str, names: dict[str, str]) -> None:
    params = open_params(Raw(text), [])
    assert params is not None
    assert params.context() == names
