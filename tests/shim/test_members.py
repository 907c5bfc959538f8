"""A member given twice is found without parsing the values."""

from __future__ import annotations

import pytest
from msgspec import Raw

from affix_shim.members import members_of, repeated

REF = '"taskId":"t","key":"k"'


def given_twice(text: str) -> str | None:
    return repeated(Raw(text), members_of(Raw(text)))


ONCE = [
    "{}",
    " { } ",
    f'{{{REF},"type":"json","value":{{"a":1,"a":1}}}}',
    '{\n  "taskId" : "t",\n  "key" : "\\"taskId\\" : ",\n  "type" : "json",\n  "value" : [ "}", {"key": "}"} ]\n}',
    '{"t\\u0061skId":"t",   "key":"k"   ,   "\\"\\\\":1}',
]
TWICE = [
    ('{"value":12345678901,"value":1}', "value"),
    ('{"value":1,"value":12345678901}', "value"),
    ('{"value":[1],"value":[1]}', "value"),
    ('{"value":[1,"x"],"value":12}', "value"),
    ('{"id":0,"id":0}', "id"),
    ('{"é":[],"type":"\\\\","\\u00e9":[]}', "é"),
    ('{\n"a":1,\n"key" : {"key":1},\n"b":2,"\\u006be\\u0079":{"key":1}}', "key"),
]


@pytest.mark.parametrize("text", ONCE)
def test_members_given_once_are_not_called_repeated(text: str) -> None:
    assert given_twice(text) is None


@pytest.mark.parametrize(("text", "name"), TWICE)
def test_a_member_given_twice_is_named(text: str, name: str) -> None:
    assert given_twice(text) == name
