"""Whatever JSON is stored comes back byte for byte; whatever bytes arrive, a JSON-RPC answer leaves."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from affix.v1 import attachments_pb2, tasks_pb2
from tests.shim.conftest import Backend, Shim

pytestmark = pytest.mark.usefixtures("echoing")

BLANK = st.text(" \t\n\r", max_size=2)
DIGITS = st.text("0123456789", min_size=1, max_size=40)
NUMBERS = st.builds(
    lambda sign, whole, fraction, exponent: sign + whole + fraction + exponent,
    st.sampled_from(["", "-"]),
    st.just("0") | st.builds(str.__add__, st.sampled_from("123456789"), DIGITS),
    st.just("") | st.builds(".{}".format, DIGITS),
    st.just("") | st.builds("{}{}".format, st.sampled_from(["e", "E", "e+", "E-"]), DIGITS),
)
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters='"\\', min_codepoint=0x20)
ESCAPES = st.sampled_from(
    [r"\"", r"\\", r"\/", r"\b", r"\f", r"\n", r"\r", r"\t", r"\u0000", r"\u00E9", r"\uD83E\uddea"]
)
STRINGS = st.builds('"{}"'.format, st.lists(CHARACTERS | ESCAPES, max_size=8).map("".join))
SCALARS = st.sampled_from(["null", "true", "false"]) | NUMBERS | STRINGS


def _containers(items: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    padded = st.builds("{}{}{}".format, BLANK, items, BLANK)
    members = st.builds("{}{}{}:{}".format, BLANK, STRINGS, BLANK, padded)
    arrays = st.lists(padded, max_size=4).map(lambda each: f"[{','.join(each)}]")
    objects = st.lists(members, max_size=4).map(lambda each: f"{{{','.join(each)}}}")
    return arrays | objects


VALUES = st.recursive(SCALARS, _containers, max_leaves=12)


NOTHING_YET = attachments_pb2.CreateAttachmentRequest(json=attachments_pb2.JsonContent(value="0"))


@pytest.fixture(scope="module")
def echoing(started_backend: Backend) -> Backend:
    """The service gives what it was given last."""
    recorder = started_backend.recorder
    recorder.reset()

    def give(_request: Any) -> attachments_pb2.GetAttachmentResponse:
        created = (call.request for call in reversed(recorder.calls) if call.method == "CreateAttachment")
        stored = next(created, NOTHING_YET)
        value = stored.json if stored.HasField("json") else NOTHING_YET.json
        attachment = attachments_pb2.Attachment(task_id=stored.task_id, key=stored.key, json=value)
        return attachments_pb2.GetAttachmentResponse(attachment=attachment)

    recorder.answers["GetAttachment"] = give
    recorder.answers["CreateAttachment"] = attachments_pb2.CreateAttachmentResponse(
        type=attachments_pb2.ATTACHMENT_TYPE_JSON
    )
    changed = tasks_pb2.Task(status=tasks_pb2.TASK_STATUS_PENDING)
    recorder.answers["UpdateTask"] = tasks_pb2.UpdateTaskResponse(task=changed)
    return started_backend


@given(value=VALUES, before=BLANK, after=BLANK)
@example(value='{"id": 12345678901234567890, "x": 1.0, "x": -0.0}', before="", after="")
@example(value="[" * 128 + "1e999" + "]" * 128, before=" ", after=" ")
@settings(max_examples=150, deadline=None)
async def test_json_passes_byte_for_byte(shim: Shim, echoing: Backend, value: str, before: str, after: str) -> None:
    params = f'{{"taskId":"t","type":"json","value":{before}{value}{after},"key":"k"}}'
    created = await shim.send(
        f'{{"jsonrpc":"2.0","method":"task.create_attachment","params":{params},"id":1}}'.encode()
    )
    assert b'"result":' in created.body
    assert echoing.recorder.calls[-1].request.json.value == value
    ref = '{"taskId":"t","key":"k"}'
    got = await shim.send(f'{{"jsonrpc":"2.0","method":"task.get_attachment","params":{ref},"id":{value}}}'.encode())
    if value[0] in "[{tf":  # no id
        assert got.json["error"]["code"] == -32600
        got = await shim.send(f'{{"jsonrpc":"2.0","method":"task.get_attachment","params":{ref},"id":1}}'.encode())
    else:
        assert got.body.endswith(f',"id":{value}}}'.encode())
    assert f'"type":"json","value":{value},"createdBy":'.encode() in got.body


METHODS = st.sampled_from(['"task.get_attachment"', '"task.create_attachment"', '"task.update"', '"nothing"'])
NAMES = st.sampled_from(['"taskId"', '"key"', '"type"', '"value"', '"updates"', '"requests"', '"id"', '"x"'])
PARAMS = st.lists(st.builds("{}:{}".format, NAMES, VALUES | st.just('"json"')), max_size=5).map(
    lambda each: f"{{{','.join(each)}}}"
)
MEMBERS = st.one_of(
    st.just('"jsonrpc":"2.0"'),
    st.builds('"method":{}'.format, METHODS | VALUES),
    st.builds('"params":{}'.format, PARAMS | VALUES),
    st.builds('"id":{}'.format, VALUES),
)
REQUESTS = st.lists(MEMBERS, max_size=5).map(lambda each: f"{{{','.join(each)}}}") | st.builds(
    '{{"jsonrpc":"2.0","method":{},"params":{},"id":{}}}'.format, METHODS, PARAMS | VALUES, SCALARS
)
BATCHES = st.lists(REQUESTS | VALUES, max_size=6).map(lambda each: f"[{','.join(each)}]")


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw a request with a few bytes cut out or put in."""
    body = draw(REQUESTS | BATCHES).encode()
    at = draw(st.integers(0, len(body)))
    return body[:at] + draw(st.binary(max_size=3)) + body[at + draw(st.integers(0, 3)) :]


def well_formed(answer: Any) -> bool:
    """Tell whether it is a JSON-RPC 2.0 response object."""
    if set(answer) - {"result", "error"} != {"jsonrpc", "id"} or ("result" in answer) == ("error" in answer):
        return False
    error = answer.get("error", {"code": 0, "message": ""})
    return (
        answer["jsonrpc"] == "2.0"
        and isinstance(answer["id"], str | int | float | None)
        and isinstance(error["code"], int)
        and isinstance(error["message"], str)
        and set(error) <= {"code", "message", "data"}
    )


@given(body=st.binary(max_size=64) | VALUES.map(str.encode) | (REQUESTS | BATCHES).map(str.encode) | damaged())
@settings(max_examples=300, deadline=None)
async def test_any_bytes_are_answered_by_the_rules(shim: Shim, body: bytes) -> None:
    answered = await shim.send(body)
    if answered.status == 204:
        assert answered.body == b""
        return
    assert answered.status == 200
    answer = json.loads(answered.body, parse_int=lambda _: 0)
    answers = answer if isinstance(answer, list) else [answer]
    assert answers
    assert all(well_formed(each) for each in answers)
    assert not [each for each in answers if each.get("error", {}).get("code") == -32603]
