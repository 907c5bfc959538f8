"""Every parameter that is read is described, as what it is read as, and none else is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from google.protobuf.message import Message
from msgspec import Raw

from affix_shim import requests
from affix_shim.methods import METHODS, SUBSCRIBE
from affix_shim.params import Bounds, Params
from affix_shim.times import RFC3339
from tests.harness import openrpc
from tests.harness.openrpc import resolved

Kind = Any
Reader = Callable[[Params], Message]


class _Recorder(Params):
    """Parameters that are all absent, but for a type; notes what each is read as, and whether it must be there."""

    __slots__ = ("kinds", "present", "required", "type_")

    def __init__(self, type_: str = "", present: frozenset[str] = frozenset()) -> None:
        super().__init__(Raw(b"{}"), {}, [], "")
        self.kinds: dict[str, Kind] = {}
        self.required: set[str] = set()
        self.type_ = type_
        self.present = present

    def _note(self, name: str, kind: Kind, *, required: bool = False) -> None:
        self.kinds[name] = kind
        if required:
            self.required.add(name)

    def has(self, name: str) -> bool:
        return name in self.present

    def json(self, name: str, *, required: bool = False) -> str | None:
        self._note(name, "json", required=required)
        return None

    def json_object(self, name: str) -> str | None:
        self._note(name, "object")
        return None

    def string(self, name: str, *, required: bool = False) -> str | None:
        self._note(name, "string", required=required)
        return None

    def integer(self, name: str, bounds: Bounds) -> int | None:
        self._note(name, ("integer", bounds))
        return None

    def boolean(self, name: str) -> bool:
        self._note(name, "boolean")
        return False

    def time(self, name: str) -> None:
        self._note(name, "time")

    def strings(self, name: str) -> None:
        self._note(name, ["string"])

    def word(self, name: str, words: Mapping[str, Any], *, required: bool = False) -> Any:
        self._note(name, tuple(words), required=required)
        return words.get(self.type_) if name == "type" else None

    def object(self, name: str, *, required: bool = False) -> Params | None:
        within = _Recorder()
        self._note(name, within, required=required)
        return within

    def objects(self, name: str) -> Iterator[Params]:
        within = _Recorder(self.type_)
        self._note(name, [within], required=True)
        yield within


def _agree(kind: Kind, described: dict[str, Any]) -> None:
    """What is read as `kind` is described so."""
    schema = resolved(described)
    match kind:
        case "json":
            assert not schema.keys() - {"description"}
        case "object":
            assert schema["type"] == "object"
            assert "properties" not in schema
        case "time":
            assert (schema["type"], schema["pattern"]) == ("string", f"^{RFC3339.pattern}$")
        case "string" | "boolean":
            assert schema["type"] == kind
            assert "enum" not in schema
        case ("integer", Bounds(low, high)):
            assert schema["type"] == "integer"
            assert low <= schema["minimum"] <= schema["maximum"] <= high
        case tuple():
            assert (schema["type"], schema["enum"]) == ("string", list(kind))
        case [within]:
            assert schema["type"] == "array"
            _agree(within, schema["items"])
        case _Recorder():
            assert schema["properties"].keys() == kind.kinds.keys()
            assert set(schema["required"]) == kind.required
            assert schema["additionalProperties"] is False
            for name, each in kind.kinds.items():
                _agree(each, schema["properties"][name])


READERS: dict[str, Reader] = {
    **{name: method.decode for name, method in METHODS.items() if "create_attachment" not in name},
    "task.subscribe": requests.watch_attachments,
}


@pytest.mark.parametrize("name", READERS)
def test_what_is_read_is_described(name: str) -> None:
    recorder = _Recorder()
    READERS[name](recorder)
    if name != SUBSCRIBE and METHODS[name].has_revisions:
        recorder.boolean("withRevision")
    schema = resolved(openrpc.METHODS[name]["x-params"])
    if name == "task.complete":
        assert recorder.required == {"id"}
        other = _Recorder(present=frozenset({"taskId"}))
        READERS[name](other)
        assert other.required == set()
        assert schema["anyOf"] == [{"required": ["id"]}, {"required": ["taskId"]}]
        recorder.required = set()
    _agree(recorder, schema)


@pytest.mark.parametrize("batch", [False, True], ids=["one", "several"])
@pytest.mark.parametrize("type_", requests.TYPES)
def test_what_is_read_of_an_attachment_is_that_of_its_type(type_: str, batch: bool) -> None:  # noqa: FBT001 - a case
    recorder = _Recorder(type_)
    if batch:
        requests.batch_create_attachments(recorder)
        items = recorder.kinds["requests"][0]
        schema = resolved(
            resolved(openrpc.METHODS["task.create_attachments_batch"]["x-params"])["properties"]["requests"]
        )
        schema = resolved(schema["items"])
        recorder = items
    else:
        requests.create_attachment(recorder)
        recorder.boolean("withRevision")
        schema = resolved(openrpc.METHODS["task.create_attachment"]["x-params"])
    (of_type,) = (branch for branch in schema["oneOf"] if branch["properties"]["type"]["const"] == type_)
    assert set(schema["required"]) | set(of_type["required"]) == recorder.required
    foreign = {name for one in of_type["not"]["anyOf"] for name in one["required"]}
    assert schema["properties"].keys() - foreign == recorder.kinds.keys()
    for name, kind in recorder.kinds.items():
        _agree(kind, schema["properties"][name])
