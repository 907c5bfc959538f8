"""Parameters outside the contract are refused, naming the field, and nothing is done."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness.jsonrpc_wire import JsonRpcWire
from tests.harness.samples import filled, page
from tests.harness.wire import INVALID_PARAMS, CallError, RawJson, Wire

LONG = "x" * 501
# method, parameters ("T" stands for the test's task), the field at fault
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("task.create_attachment", {"key": "k", "type": "text", "content": "x"}, "taskId"),
    ("task.create_attachment", {"taskId": "T", "type": "text", "content": "x"}, "key"),
    ("task.create_attachment", {"taskId": "T", "key": "k", "type": "url"}, "url"),
    ("task.create_attachment", {"taskId": "T", "key": "k", "type": "binary"}, "mimeType"),
    ("task.create_attachment", {"taskId": "T", "key": "k", "type": "binary", "size": 5}, "mimeType"),
    ("task.get_attachment", {"key": "k"}, "taskId"),
    ("task.get_attachment", {"taskId": "T"}, "key"),
    ("task.delete_attachment", {"key": "k"}, "taskId"),
    ("task.delete_attachment", {"taskId": "T"}, "key"),
    ("task.list_attachments", {}, "taskId"),
    ("task.list_attachments", {"taskId": "T", "limit": 0}, "limit"),
    ("task.list_attachments", {"taskId": "T", "limit": 101}, "limit"),
    ("task.list_attachments", {"taskId": "T", "limit": -1}, "limit"),
    ("task.list_attachments", {"taskId": "T", "offset": -1}, "offset"),
    ("task.get_attachments_batch", {"requests": [{"taskId": "T"}]}, "requests[0].key"),
    ("task.get_attachments_batch", {"requests": [{"key": "k"}]}, "requests[0].taskId"),
    ("task.create", {}, "text"),
    ("task.create", {"text": ""}, "text"),
    ("task.create", {"text": LONG}, "text"),
    ("task.create", {"text": "🧪" * 501}, "text"),
    ("task.create", {"text": "a\x00b"}, "text"),
    ("task.create", {"text": "x", "priority": -1}, "priority"),
    ("task.create", {"text": "x", "priority": 101}, "priority"),
    ("task.create", {"text": "x", "metadata": RawJson("[]")}, "metadata"),
    ("task.create", {"text": "x", "metadata": RawJson('"x"')}, "metadata"),
    ("task.create", {"text": "x", "metadata": RawJson('{"a":' * 129 + "1" + "}" * 129)}, "metadata"),
    ("task.get", {}, "id"),
    ("task.update", {"updates": {"text": "x"}}, "id"),
    ("task.update", {"id": "T"}, "updates"),
    ("task.update", {"id": "T", "updates": {}}, "updates"),
    ("task.update", {"id": "T", "updates": {"text": ""}}, "updates.text"),
    ("task.update", {"id": "T", "updates": {"text": LONG}}, "updates.text"),
    ("task.update", {"id": "T", "updates": {"priority": 101}}, "updates.priority"),
    ("task.update", {"id": "T", "updates": {"metadata": RawJson("[]")}}, "updates.metadata"),
    ("task.list", {"limit": 0}, "limit"),
    ("task.list", {"limit": 1001}, "limit"),
    ("task.list", {"offset": -1}, "offset"),
    ("task.list", {"priority": 101}, "priority"),
    ("task.complete", {}, "id"),
    ("task.complete", {"id": "T", "workerId": ""}, "workerId"),
    ("task.complete", {"id": "T", "workerId": "w" * 129}, "workerId"),
    ("task.complete", {"id": "T", "result": RawJson("[" * 129 + "]" * 129)}, "result"),
    ("task.delete", {}, "id"),
]
# What only JSON can say: other types, unknown names, fields of another attachment type.
REFUSED_JSON: list[tuple[str, dict[str, Any], str]] = [
    ("task.create_attachment", {"taskId": "T", "key": "k", "type": "json"}, "value"),
    ("task.create_attachment", {"taskId": "T", "key": "k", "type": "text"}, "content"),
    ("task.create_attachment", {"taskId": "T", "key": "k", "type": "markdown"}, "content"),
    ("task.create_attachment", {"taskId": "T", "key": "k", "type": "yaml", "content": "x"}, "type"),
    ("task.create_attachment", {"taskId": "T", "key": "k", "type": "JSON", "value": 1}, "type"),
    ("task.create_attachment", {"taskId": "T", "key": "k", "type": "json", "value": 1, "content": "x"}, "content"),
    ("task.create_attachment", {"taskId": "T", "key": "k", "type": "text", "content": "x", "size": 5}, "size"),
    ("task.create_attachment", {"taskId": "T", "key": "k", "type": "text", "content": "x", "value": 1}, "value"),
    ("task.create_attachment", {"taskId": "T", "key": "k", "type": "url", "url": "a:b", "content": "x"}, "content"),
    ("task.create_attachment", {"taskId": "T", "key": "k", "type": "json", "value": 1, "url": "a:b"}, "url"),
    ("task.create_attachment", {"taskId": "T", "key": "k", "type": "text", "content": "x", "ttl": 5}, "ttl"),
    ("task.create_attachment", {"taskId": "T", "key": "k", "type": "text", "content": 5}, "content"),
    ("task.create_attachment", {"taskId": "T", "key": "k", "type": "text", "content": None}, "content"),
    ("task.create_attachment", {"taskId": "T", "key": 5, "type": "text", "content": "x"}, "key"),
    ("task.create_attachment", {"taskId": None, "key": "k", "type": "text", "content": "x"}, "taskId"),
    *(
        (
            "task.create_attachment",
            {"taskId": "T", "key": "k", "type": "binary", "mimeType": "a/b", "size": size},
            "size",
        )
        for size in (2**63, 2**64, RawJson("1" * 5000), 1.5, "5", True, None)
    ),
    ("task.get_attachment", {"taskId": "T", "key": "k", "fresh": True}, "fresh"),
    ("task.list_attachments", {"taskId": "T", "limit": "10"}, "limit"),
    ("task.list_attachments", {"taskId": "T", "limit": 1.5}, "limit"),
    ("task.list_attachments", {"taskId": "T", "limit": True}, "limit"),
    ("task.list_attachments", {"taskId": "T", "limit": 2**40}, "limit"),
    ("task.list_attachments", {"taskId": "T", "offset": 2**70}, "offset"),
    ("task.list_attachments", {"taskId": "T", "type": "yaml"}, "type"),
    ("task.list_attachments", {"taskId": "T", "type": ""}, "type"),
    ("task.get_attachments_batch", {}, "requests"),
    ("task.get_attachments_batch", {"requests": {}}, "requests"),
    ("task.get_attachments_batch", {"requests": ["k"]}, "requests[0]"),
    ("task.get_attachments_batch", {"requests": [{"taskId": "T", "key": "k", "x": 1}]}, "requests[0].x"),
    ("task.create", {"text": "x", "priority": "high"}, "priority"),
    ("task.create", {"text": "x", "status": "pending"}, "status"),
    ("task.create", {"text": "x", "metadata": None}, "metadata"),
    ("task.update", {"id": "T", "updates": {"status": "done"}}, "updates.status"),
    ("task.update", {"id": "T", "updates": {"owner": "me"}}, "updates.owner"),
    ("task.update", {"id": "T", "updates": []}, "updates"),
    ("task.list", {"orderBy": "text"}, "orderBy"),
    ("task.list", {"order": "up"}, "order"),
    ("task.list", {"status": "done"}, "status"),
]


def _named(rows: list[tuple[str, dict[str, Any], str]]) -> list[Any]:
    return [pytest.param(*row, id=f"{row[0]} {str(row[1])[:60]}".encode("ascii", "replace").decode()) for row in rows]


@pytest.mark.parametrize(("method", "params", "field"), _named(REFUSED))
async def test_a_bad_parameter_is_refused_by_name(
    wire: Wire, task: str, method: str, params: dict[str, Any], field: str
) -> None:
    await _refused(wire, task, method, params, field)


@pytest.mark.parametrize(("method", "params", "field"), _named(REFUSED_JSON))
async def test_what_only_json_can_get_wrong_is_refused_by_name(
    jsonrpc: JsonRpcWire, task: str, method: str, params: dict[str, Any], field: str
) -> None:
    await _refused(jsonrpc, task, method, params, field)


async def _refused(wire: Wire, task: str, method: str, params: dict[str, Any], field: str) -> None:
    with pytest.raises(CallError) as refused:
        await wire.call(method, filled(params, task))
    error = refused.value
    assert (error.code, error.reason, error.fields) == (INVALID_PARAMS, "INVALID_PARAMS", [field])
    description = error.data["violations"][0]["description"]
    assert error.message == f"Invalid params: {field} {description}"
    assert (await page(wire, task))["totalCount"] == 0


async def test_every_bad_parameter_is_named_at_once(wire: Wire, task: str) -> None:
    with pytest.raises(CallError) as refused:
        await wire.call("task.list_attachments", {"taskId": task, "limit": 101, "offset": -1})
    assert sorted(refused.value.fields) == ["limit", "offset"]
    parts = [f"{violation['field']} {violation['description']}" for violation in refused.value.data["violations"]]
    assert refused.value.message == "Invalid params: " + "; ".join(parts)


async def test_a_create_without_a_type_is_refused(wire: Wire, task: str) -> None:
    with pytest.raises(CallError) as refused:
        await wire.call("task.create_attachment", {"taskId": task, "key": "k"})
    # gRPC has no type of its own: what is missing there is the content.
    assert refused.value.fields == (["content"] if wire.name == "grpc" else ["type"])


async def test_positional_parameters_are_refused(jsonrpc: JsonRpcWire, task: str) -> None:
    body = f'{{"jsonrpc": "2.0", "method": "task.get_attachment", "params": ["{task}", "k"], "id": 1}}'
    assert f'"code":{INVALID_PARAMS}' in (await jsonrpc.post(body)).replace(" ", "")


@pytest.mark.parametrize("method", ["task.create_attachment", "task.create"])
async def test_an_instance_id_has_at_most_128_characters(wire: Wire, task: str, method: str) -> None:
    params = {
        "task.create_attachment": {"taskId": task, "key": "k", "type": "text", "content": "x"},
        "task.create": {"text": "x"},
    }[method]
    await wire.call(method, params, instance="i" * 128)
    with pytest.raises(CallError) as refused:
        await wire.call(method, params, instance="i" * 129)
    assert refused.value.fields == ["x-instance-id"]
