"""Parameters to requests: what is refused, by which name, and that all of it is told at once."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.text_format import MessageToString
from msgspec import Raw

from affix.v1 import attachments_pb2, tasks_pb2
from affix_shim.methods import METHODS
from affix_shim.params import open_params
from affix_shim.violations import Violation


def read(method: str, text: str) -> tuple[Message | None, list[tuple[str, str]]]:
    violations: list[Violation] = []
    params = open_params(Raw(text), violations)
    if params is None:
        return None, [(each.field, each.description) for each in violations]
    request = METHODS[method].decode(params)
    params.close()
    return request, [(each.field, each.description) for each in violations]


def content(**kwargs: Any) -> attachments_pb2.CreateAttachmentRequest:
    return attachments_pb2.CreateAttachmentRequest(task_id="t", key="k", **kwargs)


REF = '"taskId":"t","key":"k"'
READ: list[tuple[str, str, Message]] = [
    (
        "task.create_attachment",
        f'{{{REF},"type":"json","value":{{"a": 1.0}}}}',
        content(json=attachments_pb2.JsonContent(value='{"a": 1.0}')),
    ),
    (
        "task.create_attachment",
        f'{{{REF},"type":"json","value":null}}',
        content(json=attachments_pb2.JsonContent(value="null")),
    ),
    (
        "task.create_attachment",
        f'{{{REF},"type":"markdown","content":""}}',
        content(markdown=attachments_pb2.MarkdownContent()),
    ),
    (
        "task.create_attachment",
        f'{{{REF},"type":"text","content":""}}',
        content(text=attachments_pb2.TextContent()),
    ),
    (
        "task.create_attachment",
        f'{{{REF},"type":"url","url":""}}',
        content(url=attachments_pb2.UrlContent()),
    ),
    (
        "task.create_attachment",
        f'{{{REF},"type":"binary","mimeType":""}}',
        content(binary=attachments_pb2.BinaryContent()),
    ),
    (
        "task.create_attachment",
        f'{{{REF},"type":"binary","mimeType":"a/b","size":9223372036854775807}}',
        content(binary=attachments_pb2.BinaryContent(mime_type="a/b", size=2**63 - 1)),
    ),
    (
        "task.create_attachment",
        f'{{{REF},"type":"binary","mimeType":"a/b","size":-0}}',
        content(binary=attachments_pb2.BinaryContent(mime_type="a/b", size=0)),
    ),
    (
        "task.get_attachment",
        '{"key":"\\u006b\\ud83e\\uddea", "taskId":"t"}',
        attachments_pb2.GetAttachmentRequest(task_id="t", key="k🧪"),
    ),
    ("task.list_attachments", '{"taskId":"t"}', attachments_pb2.ListAttachmentsRequest(task_id="t")),
    (
        "task.list_attachments",
        '{"taskId":"t","type":"url","limit":0,"offset":0}',
        attachments_pb2.ListAttachmentsRequest(
            task_id="t", type=attachments_pb2.ATTACHMENT_TYPE_URL, limit=0, offset=0
        ),
    ),
    ("task.delete_attachment", f"{{{REF}}}", attachments_pb2.DeleteAttachmentRequest(task_id="t", key="k")),
    (
        "task.get_attachments_batch",
        f'{{"requests":[{{{REF}}},{{"taskId":"u","key":""}}]}}',
        attachments_pb2.BatchGetAttachmentsRequest(
            requests=[
                attachments_pb2.AttachmentRef(task_id="t", key="k"),
                attachments_pb2.AttachmentRef(task_id="u", key=""),
            ]
        ),
    ),
    ("task.get_attachments_batch", '{"requests":[]}', attachments_pb2.BatchGetAttachmentsRequest()),
    (
        "task.create_attachments_batch",
        f'{{"requests":[{{{REF},"type":"text","content":"","ifAbsent":true}}]}}',
        attachments_pb2.BatchCreateAttachmentsRequest(
            requests=[
                attachments_pb2.CreateAttachmentRequest(
                    task_id="t", key="k", text=attachments_pb2.TextContent(content=""), if_absent=True
                )
            ]
        ),
    ),
    (
        "task.delete_attachments_batch",
        f'{{"requests":[{{{REF}}},{{{REF},"ifRevision":9007199254740993}}]}}',
        attachments_pb2.BatchDeleteAttachmentsRequest(
            requests=[
                attachments_pb2.DeleteAttachmentRequest(task_id="t", key="k"),
                attachments_pb2.DeleteAttachmentRequest(task_id="t", key="k", if_revision=9007199254740993),
            ]
        ),
    ),
    ("task.create", '{"text":"x"}', tasks_pb2.CreateTaskRequest(text="x")),
    (
        "task.create",
        '{"text":"x","priority":0,"metadata":{"b":1e2 , "a":[]},"id":""}',
        tasks_pb2.CreateTaskRequest(text="x", priority=0, metadata='{"b":1e2 , "a":[]}', id=""),
    ),
    ("task.get", '{"id":"t"}', tasks_pb2.GetTaskRequest(id="t")),
    ("task.update", '{"id":"t","updates":{}}', tasks_pb2.UpdateTaskRequest(id="t", updates=tasks_pb2.TaskUpdates())),
    (
        "task.update",
        '{"id":"t","updates":{"text":"","status":"in_progress","priority":0,"metadata":{}}}',
        tasks_pb2.UpdateTaskRequest(
            id="t",
            updates=tasks_pb2.TaskUpdates(text="", status=tasks_pb2.TASK_STATUS_IN_PROGRESS, priority=0, metadata="{}"),
        ),
    ),
    ("task.list", "", tasks_pb2.ListTasksRequest()),
    (
        "task.list",
        '{"status":"failed","assignedTo":"","priority":0,"limit":1,"offset":2,"orderBy":"assignedTo","order":"asc"}',
        tasks_pb2.ListTasksRequest(
            status=tasks_pb2.TASK_STATUS_FAILED,
            assigned_to="",
            priority=0,
            limit=1,
            offset=2,
            order_by=tasks_pb2.TASK_ORDER_BY_ASSIGNED_TO,
            order=attachments_pb2.SORT_ORDER_ASC,
        ),
    ),
    ("task.complete", '{"id":"t"}', tasks_pb2.CompleteTaskRequest(id="t")),
    ("task.complete", '{"taskId":"t","id":"t"}', tasks_pb2.CompleteTaskRequest(id="t")),
    (
        "task.complete",
        '{"taskId":"t","workerId":"","result":null}',
        tasks_pb2.CompleteTaskRequest(id="t", worker_id="", result=attachments_pb2.JsonContent(value="null")),
    ),
    ("task.delete", '{"id":"t"}', tasks_pb2.DeleteTaskRequest(id="t")),
]


@pytest.mark.parametrize(("method", "text", "wanted"), READ)
def test_parameters_become_the_request(method: str, text: str, wanted: Message) -> None:
    request, violations = read(method, text)
    assert violations == []
    assert request is not None
    assert MessageToString(request) == MessageToString(wanted)
    assert request == wanted  # presence of empty texts and zeros too


def test_every_method_is_read() -> None:
    assert {method for method, _, _ in READ} == set(METHODS)


UNKNOWN = "is not a parameter of this method"
WORDS = "must be one of json, markdown, text, url, binary"
REFUSED: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("task.get", "[]", [("params", "must be an object, not an array")]),
    ("task.get", "null", [("params", "must be an object, not null")]),
    ("task.get", '"t"', [("params", "must be an object, not a string")]),
    ("task.get", "7", [("params", "must be an object, not a number")]),
    ("task.get", "false", [("params", "must be an object, not a boolean")]),
    ("task.get", "", [("id", "is required")]),
    ("task.get_attachment", "{}", [("taskId", "is required"), ("key", "is required")]),
    (
        "task.get_attachment",
        '{"taskId":1,"key":null,"fresh":true,"":0}',
        [
            ("taskId", "must be a string, not a number"),
            ("key", "must be a string, not null"),
            ("fresh", UNKNOWN),
            ("", UNKNOWN),
        ],
    ),
    ("task.get_attachment", f'{{{REF},"key":"other"}}', [("key", "must be given once")]),
    ("task.get_attachment", f'{{{REF} , "\\u006bey" : "k" }}', [("key", "must be given once")]),
    ("task.create_attachment", f"{{{REF}}}", [("type", "is required")]),
    ("task.create_attachment", f'{{{REF},"type":"yaml","content":5}}', [("type", f"{WORDS}, not 'yaml'")]),
    (
        "task.create_attachment",
        f'{{{REF},"type":5,"foo":5}}',
        [("type", "must be a string, not a number"), ("foo", UNKNOWN)],
    ),
    ("task.create_attachment", f'{{{REF},"type":"json"}}', [("value", "is required")]),
    ("task.create_attachment", f'{{{REF},"type":"text"}}', [("content", "is required")]),
    (
        "task.create_attachment",
        f'{{{REF},"type":"markdown","content":{{}}}}',
        [("content", "must be a string, not an object")],
    ),
    ("task.create_attachment", f'{{{REF},"type":"url"}}', [("url", "is required")]),
    ("task.create_attachment", f'{{{REF},"type":"binary","size":1}}', [("mimeType", "is required")]),
    (
        "task.create_attachment",
        f'{{{REF},"type":"text","value":null,"url":1,"mimeType":"a/b","size":1,"x":1}}',
        [
            ("content", "is required"),
            *((name, "does not belong to an attachment of type text") for name in ("value", "url", "mimeType", "size")),
            ("x", UNKNOWN),
        ],
    ),
    (
        "task.create_attachment",
        f'{{{REF},"type":"json","value":1,"content":"x"}}',
        [("content", "does not belong to an attachment of type json")],
    ),
    ("task.list_attachments", '{"taskId":"t","type":""}', [("type", f"{WORDS}, not ''")]),
    (
        "task.list_attachments",
        '{"taskId":"t","limit":10.0}',
        [("limit", "must be an integer without fraction or exponent, not 10.0")],
    ),
    (
        "task.list_attachments",
        '{"taskId":"t","limit":1e1}',
        [("limit", "must be an integer without fraction or exponent, not 1e1")],
    ),
    ("task.list_attachments", '{"taskId":"t","limit":"10"}', [("limit", "must be an integer, not a string")]),
    (
        "task.list_attachments",
        '{"taskId":"t","limit":2147483648}',
        [("limit", "must be at most 2147483647, not 2147483648")],
    ),
    (
        "task.list_attachments",
        '{"taskId":"t","limit":-2147483649}',
        [("limit", "must be at least -2147483648, not -2147483649")],
    ),
    (
        "task.list_attachments",
        '{"taskId":"t","offset":9223372036854775808}',
        [("offset", "must be at most 9223372036854775807, not 9223372036854775808")],
    ),
    (
        "task.list_attachments",
        '{"taskId":"t","offset":-9223372036854775809}',
        [("offset", "must be at least -9223372036854775808, not -9223372036854775809")],
    ),
    (
        "task.list_attachments",
        f'{{"taskId":"t","offset":{"9" * 5000}}}',
        [("offset", f"must be at most 9223372036854775807, not {'9' * 100}…")],
    ),
    ("task.get_attachments_batch", "{}", [("requests", "is required")]),
    ("task.get_attachments_batch", '{"requests":{}}', [("requests", "must be an array, not an object")]),
    (
        "task.get_attachments_batch",
        f'{{"requests":[{{{REF}}},5,{{"taskId":"t"}},{{{REF},"x":1}},{{{REF},"key":"k2"}}]}}',
        [
            ("requests[1]", "must be an object, not a number"),
            ("requests[2].key", "is required"),
            ("requests[3].x", UNKNOWN),
            ("requests[4].key", "must be given once"),
        ],
    ),
    ("task.create", '{"text":"x","metadata":[]}', [("metadata", "must be an object, not an array")]),
    ("task.create", '{"text":"x","priority":true}', [("priority", "must be an integer, not a boolean")]),
    ("task.update", '{"id":"t"}', [("updates", "is required")]),
    ("task.update", '{"id":"t","updates":null}', [("updates", "must be an object, not null")]),
    (
        "task.update",
        '{"updates":{"text":1,"status":"done","owner":"me","text":1}}',
        [
            ("id", "is required"),
            ("updates.text", "must be a string, not a number"),
            ("updates.status", "must be one of pending, in_progress, completed, failed, not 'done'"),
            ("updates.owner", UNKNOWN),
            ("updates.text", "must be given once"),
        ],
    ),
    ("task.list", '{"order":"up"}', [("order", "must be one of asc, desc, not 'up'")]),
    ("task.complete", "{}", [("id", "is required")]),
    ("task.complete", '{"id":"t","taskId":"u"}', [("taskId", "must equal id when both are given")]),
    ("task.complete", '{"taskId":5}', [("taskId", "must be a string, not a number")]),
]


@pytest.mark.parametrize(("method", "text", "wanted"), REFUSED)
def test_what_does_not_fit_is_refused_by_name(method: str, text: str, wanted: list[tuple[str, str]]) -> None:
    assert read(method, text)[1] == wanted
