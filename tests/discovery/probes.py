"""Calls that try what the document says of each parameter: at its bounds, just beyond, and of other types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.harness import openrpc
from tests.harness.openrpc import resolved

Call = tuple[str, dict[str, Any]]

_ABSENT = "probed-and-not-there"
_REF = {"taskId": _ABSENT, "key": "k"}
_CONTENTS: dict[str, dict[str, Any]] = {
    "json": {"value": None},
    "markdown": {"content": ""},
    "text": {"content": "x"},
    "url": {"url": "https://example.com/"},
    "binary": {"mimeType": "a/b"},
}
# Valid calls, into each of which every parameter is put with every value: about no task that is there, so that nothing
# is done. What the document can only say in words is not tried: a time that has passed or is none (February 30th), a
# host of an URL, levels and bytes of a content, one attachment twice in a batch, an id that is not the taskId.
BASES: list[Call] = [
    *(("task.create_attachment", {**_REF, "type": type_, **content}) for type_, content in _CONTENTS.items()),
    ("task.get_attachment", _REF),
    ("task.list_attachments", {"taskId": _ABSENT}),
    ("task.delete_attachment", _REF),
    ("task.get_attachments_batch", {"requests": [_REF]}),
    ("task.create_attachments_batch", {"requests": [{**_REF, "type": "text", "content": "x"}]}),
    ("task.delete_attachments_batch", {"requests": [_REF]}),
    ("task.create", {"text": "x", "id": "probed"}),
    ("task.get", {"id": _ABSENT}),
    ("task.update", {"id": _ABSENT, "updates": {"priority": 1}}),
    ("task.list", {"limit": 1}),
    ("task.complete", {"id": _ABSENT}),
    ("task.delete", {"id": _ABSENT}),
    ("task.subscribe", {}),
]
_OF_EVERY_TYPE: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    "",
    "1",
    "é",
    [],
    {},
    {"a": 1},
    ["a"],
    ["a", "a"],
    [""],
    [1],
]
_CHARACTERS = ["a\n", "a\x00", "a\x1f", "a\x7f", "a\x9f", "a\xa0", "a b", "a/b", "a:b", "\u2028", "\U0001f600", "-._"]
_OF_STRINGS = [
    *_CHARACTERS,
    *(
        "http://[::1]/",
        "mailto:a@b",
        "JavaScript:x",
        "data:x",
        "vbscript:",
        "a:",
        "1a:b",
        "a:<b>",
        "a:é",
        "a:\\",
        "a+.-:b",
    ),
    *("a/b; c=d", "a/b;c", 'a/b;c="d e"', 'a/b;c="\\""', 'a/b;c="é"', "a/b/c", "a/b;c=d;e=f\t; g=h", "é/b", "a/b;c=é"),
    *(
        "2999-01-01T00:00:00Z",
        "2999-01-01t00:00:00.123456789+01:00",
        "2999-01-01",
        "2999-01-01T00:00Z",
        "2999-1-1T0:0:0Z",
    ),
    *("2999-01-01T00:00:00", "2999-01-01T00:00:00.Z", "2999-01-01T00:00:00.1234567890Z", "٢999-01-01T00:00:00Z"),
]


def probes(schema: dict[str, Any]) -> Iterator[Any]:
    """Values that show whether a parameter is what its schema says."""
    yield from _OF_EVERY_TYPE
    yield from _OF_STRINGS
    found = resolved(schema)
    yield from found.get("enum", ())
    for bound in ("minimum", "maximum"):
        if bound in found:
            yield from (found[bound] - 1, found[bound], found[bound] + 1)
    if found.get("type") == "integer":
        yield from (2**31, -(2**31) - 1, 2**63, 10**30)
    if "maxLength" in found:
        filled = "a/b" if "/" in found["pattern"] else "a:b"
        for each in ("a", "é", "\U0001f600", filled):
            yield from (each.ljust(length, each[-1]) for length in (found["maxLength"], found["maxLength"] + 1))
    if "maxItems" in found and resolved(found["items"]).get("type") == "string":
        yield from ([str(number) for number in range(count)] for count in (found["maxItems"], found["maxItems"] + 1))


def _within(schema: dict[str, Any], valid: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every parameter with every value in a valid object, each left out, and one too many."""
    for name, each in resolved(schema)["properties"].items():
        found = resolved(each)
        if "properties" in found:
            yield from ({**valid, name: inner} for inner in _within(found, {}))
        elif resolved(found.get("items", {})).get("type") == "object":
            yield from ({**valid, name: items} for items in _lists(found, valid[name][0]))
        yield from ({**valid, name: value} for value in probes(each))
    for name in valid:
        yield {other: value for other, value in valid.items() if other != name}
    yield {**valid, "nothing": 1}


def _lists(schema: dict[str, Any], valid: dict[str, Any]) -> Iterator[list[Any]]:
    for count in (schema["minItems"], schema["maxItems"], schema["maxItems"] + 1):
        yield [{**valid, "key": f"k-{number}"} for number in range(count)]
    for item in _within(schema["items"], valid):
        yield [item]


def calls(method: str) -> list[Call]:
    """Every call that probes a method."""
    made = [
        (name, params)
        for name, valid in BASES
        if name == method
        for params in _within(openrpc.METHODS[name]["x-params"], valid)
    ]
    if method == "task.complete":
        valid: dict[str, Any] = {"taskId": _ABSENT}
        made = [call for call in made if "taskId" not in call[1]]
        made += [(method, {**valid, "taskId": value}) for value in probes({"$ref": "#/components/schemas/taskId"})]
    if method == "task.create_attachment":
        for_all = {**_REF, "type": "text", "content": "x"}
        moment = "2999-01-01T00:00:00Z"
        made += [
            (method, {**for_all, **more})
            for more in (
                {"ifRevision": 1, "ifAbsent": True},
                {"ifRevision": 1, "ifAbsent": False},
                {"expiresAt": moment, "ttlSeconds": 1},
                {"expiresAt": moment, "ifAbsent": True},
            )
        ]
    return made
