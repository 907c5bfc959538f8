"""Parameters decoded in one step are those that are read one by one; of what is wrong, nothing is taken."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Raw

from affix_server.codec import decode_content
from affix_shim.methods import METHODS
from affix_shim.params import open_params
from affix_shim.typed import Typed
from affix_shim.violations import Violation

READ = {name: method.read for name, method in METHODS.items() if method.read is not None}
REF = {"taskId": "t-1", "key": "k 🧪"}
# What most callers send.
USUAL: list[tuple[str, dict[str, Any]]] = [
    ("task.get_attachment", REF),
    ("task.get_attachment", {**REF, "withRevision": True}),
    ("task.get_attachments_batch", {"requests": [REF, {"taskId": "t-2", "key": "b"}]}),
    ("task.get_attachments_batch", {"requests": [REF] * 100, "allowMissing": True, "withRevision": True}),
    ("task.list_attachments", {"taskId": "t-1"}),
    ("task.list_attachments", {"taskId": "t-1", "limit": 10, "offset": 20, "type": "json", "keyPrefix": "a/"}),
    ("task.list_attachments", {"taskId": "t-1", "view": "metadata", "order": "desc", "withRevision": True}),
    ("task.create_attachment", {**REF, "type": "json", "value": {"a": [1, None, 2.5], "key": "x"}}),
    ("task.create_attachment", {**REF, "type": "text", "content": 'lines\nand "quotes"\\'}),
    ("task.create_attachment", {**REF, "type": "markdown", "content": "", "withRevision": True}),
    ("task.create_attachment", {**REF, "type": "url", "url": "https://example.com/"}),
]


def taken(method: str, text: str) -> Typed | None:
    return READ[method](Raw(text.encode()))


def one_by_one(method: str, text: str) -> tuple[Any, bool, list[Violation]]:
    violations: list[Violation] = []
    params = open_params(Raw(text.encode()), violations)
    assert params is not None
    request = METHODS[method].decode(params)
    with_revision = params.boolean("withRevision")
    params.close()
    return request, with_revision, violations


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")], ids=["compact", "as Python prints"])
@pytest.mark.parametrize(("method", "params"), USUAL)
def test_what_most_callers_send_is_taken(method: str, params: dict[str, Any], separators: tuple[str, str]) -> None:
    text = json.dumps(params, separators=separators, ensure_ascii=False)
    if len(params) > 4 and separators != (",", ":") and method == "task.create_attachment":
        return  # so many blanks might be a member given again
    found = taken(method, text)
    assert found is not None
    assert (found.message(), found.with_revision, []) == one_by_one(method, text)


VALUES = st.one_of(
    st.sampled_from(['"t"', '""', '"json"', '"text"', '"url"', '"asc"', '"full"', '"a\\"b"', '"\\u006b"']),
    st.sampled_from(["0", "7", "-1", "1.0", "1e2", "12345678901", "true", "false", "null", "[]", "{}", '{"key":"v"}']),
    st.sampled_from(['[{"taskId":"t","key":"k"}]', '[{"taskId":"t"}]', '[{"taskId":"t","key":"k","key":"l"}]']),
    st.sampled_from(['["key"]', '[{"taskId":"t","key":"k","x":1}]']),
)
NAMES = ["taskId", "key", "type", "value", "content", "url", "requests", "allowMissing", "withRevision", "limit"]
NAMES += ["offset", "keyPrefix", "view", "order", "ifRevision", "ifAbsent", "size", "x", "k\\u0065y", "task\\u0049d"]
BLANKS = st.sampled_from(["", "", " ", "\n  "])
MEMBERS = st.builds('{}"{}":{}{}'.format, BLANKS, st.sampled_from(NAMES), BLANKS, VALUES)
OBJECTS = st.lists(MEMBERS, max_size=7).map(lambda members: "{" + ",".join(members) + "}")


@given(method=st.sampled_from(sorted(READ)), text=OBJECTS)
@example(method="task.get_attachment", text='{"taskId":"t","key":"k","key":"l"}')
@example(method="task.get_attachment", text='{"taskId":"t","key":"k","withRevision":true,"withRevision":false}')
@example(method="task.get_attachments_batch", text='{"requests":[{"taskId":"t","key":"k","taskId":"u"}]}')
@example(method="task.get_attachments_batch", text='{"requests":[],"requests":[{"taskId":"t","key":"k"}]}')
@example(method="task.list_attachments", text='{"taskId":"t","limit":1,"limit":2}')
@example(method="task.list_attachments", text='{"taskId":"t","keyPrefix":"","keyPrefix":""}')
@example(method="task.create_attachment", text='{"taskId":"t","key":"k","type":"url","url":"u","url":0}')
@example(method="task.create_attachment", text='{"taskId":"t","key":"k","type":"url","url":0,"url":"u"}')
@example(method="task.create_attachment", text='{"taskId":"t","key":"k","type":"json","value":1,"url":"u"}')
@example(method="task.create_attachment", text='{"taskId":"t","key":"k","type":"text","content":1}')
def test_what_is_taken_is_right(method: str, text: str) -> None:
    found = taken(method, text)
    if found is not None:
        assert (found.message(), found.with_revision, []) == one_by_one(method, text)


@pytest.mark.parametrize("method", sorted(READ))
@pytest.mark.parametrize("text", ["", "[]", "1", "{}", '"x"', '{"taskId":"t","key":"k","requests":[[[[', "[" * 100_000])
def test_what_is_no_object_is_left(method: str, text: str) -> None:
    assert taken(method, text) is None


@pytest.mark.parametrize("params", [params for method, params in USUAL if method == "task.create_attachment"])
def test_what_is_taken_in_place_of_a_request_reads_like_it(params: dict[str, Any]) -> None:
    found: Any = taken("task.create_attachment", json.dumps(params, separators=(",", ":"), ensure_ascii=False))
    request = found.message()
    assert decode_content(found) == decode_content(request)
    assert (found.task_id, found.key, found.if_absent) == (request.task_id, request.key, request.if_absent)
    for group in ("content", "expiry"):
        assert found.WhichOneof(group) == request.WhichOneof(group)
    assert found.HasField("if_revision") == request.HasField("if_revision")
