"""Responses to results: the members of the spec's examples, in their order, and nothing else."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from affix.v1 import attachments_pb2, tasks_pb2
from affix_shim.methods import METHODS
from affix_shim.results import Options
from affix_shim.times import print_time

PLAIN = Options(with_revision=False, error=lambda error: {"message": error.message})
AT_11 = Timestamp(seconds=1737284400)
LATER = Timestamp(seconds=1737284400, nanos=250_000_000)


def printed(method: str, response: Message) -> str:
    return msgspec.json.encode(METHODS[method].encode(response, PLAIN)).decode()


def attachment(key: str = "k", **content: Any) -> attachments_pb2.Attachment:
    return attachments_pb2.Attachment(
        id="ta-1", task_id="t-1", key=key, created_by="i", created_at=AT_11, updated_at=LATER, revision=7, **content
    )


WRITTEN = '"createdBy":"i","createdAt":"2025-01-19T11:00:00Z","updatedAt":"2025-01-19T11:00:00.250Z"}'
HEAD = '{"id":"ta-1","taskId":"t-1","key":"k","type":'
CONTENTS: dict[str, tuple[attachments_pb2.Attachment, str]] = {
    "json": (
        attachment(json=attachments_pb2.JsonContent(value='{"b": 1.0,\n"a":12345678901234567890}')),
        '"json","value":{"b": 1.0,\n"a":12345678901234567890},',
    ),
    "json null": (attachment(json=attachments_pb2.JsonContent(value="null")), '"json","value":null,'),
    "markdown": (
        attachment(markdown=attachments_pb2.MarkdownContent(content="# é\n")),
        '"markdown","content":"# é\\n",',
    ),
    "text": (attachment(text=attachments_pb2.TextContent(content="")), '"text","content":"",'),
    "url": (attachment(url=attachments_pb2.UrlContent(url="a:b")), '"url","url":"a:b",'),
    "binary": (
        attachment(binary=attachments_pb2.BinaryContent(mime_type="a/b", size=2**63 - 1)),
        '"binary","size":9223372036854775807,"mimeType":"a/b",',
    ),
    "binary of unknown size": (
        attachment(binary=attachments_pb2.BinaryContent(mime_type="a/b")),
        '"binary","mimeType":"a/b",',
    ),
}


@pytest.mark.parametrize(("stored", "wanted"), CONTENTS.values(), ids=CONTENTS)
def test_an_attachment_prints_as_in_the_reference(stored: attachments_pb2.Attachment, wanted: str) -> None:
    whole = HEAD + wanted + WRITTEN
    assert printed("task.get_attachment", attachments_pb2.GetAttachmentResponse(attachment=stored)) == whole
    batch = attachments_pb2.BatchGetAttachmentsResponse(attachments=[stored, stored])
    assert printed("task.get_attachments_batch", batch) == f'{{"attachments":[{whole},{whole}]}}'
    page = attachments_pb2.ListAttachmentsResponse(attachments=[stored], total_count=2**53 + 1, has_more=True)
    assert (
        printed("task.list_attachments", page)
        == f'{{"attachments":[{whole}],"totalCount":9007199254740993,"hasMore":true}}'
    )


FULL_TASK = tasks_pb2.Task(
    id="t-1",
    text="x",
    status=tasks_pb2.TASK_STATUS_COMPLETED,
    priority=0,
    metadata='{"b":1e2, "a":8}',
    assigned_to="w",
    created_by="i",
    created_at=AT_11,
    updated_at=LATER,
    completed_at=LATER,
    attachment_count=0,
    revision=7,
)
NEW_TASK = tasks_pb2.Task(
    id="t-2",
    text="y",
    status=tasks_pb2.TASK_STATUS_PENDING,
    priority=50,
    metadata="{}",
    created_by="i",
    created_at=AT_11,
    updated_at=AT_11,
    attachment_count=3,
)
FULL = (
    '{"id":"t-1","text":"x","status":"completed","priority":0,"metadata":{"b":1e2, "a":8},"assignedTo":"w",'
    '"createdBy":"i","createdAt":"2025-01-19T11:00:00Z","updatedAt":"2025-01-19T11:00:00.250Z",'
    '"completedAt":"2025-01-19T11:00:00.250Z","attachmentCount":0}'
)
NEW = (
    '{"id":"t-2","text":"y","status":"pending","priority":50,"metadata":{},"createdBy":"i",'
    '"createdAt":"2025-01-19T11:00:00Z","updatedAt":"2025-01-19T11:00:00Z","attachmentCount":3}'
)
PRINTED: list[tuple[str, Message, str]] = [
    (
        "task.list_attachments",
        attachments_pb2.ListAttachmentsResponse(),
        '{"attachments":[],"totalCount":0,"hasMore":false}',
    ),
    (
        "task.list_attachments",
        attachments_pb2.ListAttachmentsResponse(degraded=True),
        '{"attachments":[],"totalCount":0,"hasMore":false,"degraded":true}',
    ),
    ("task.get", tasks_pb2.GetTaskResponse(task=FULL_TASK), FULL),
    (
        "task.list",
        tasks_pb2.ListTasksResponse(tasks=[NEW_TASK, FULL_TASK], total_count=2),
        f'{{"tasks":[{NEW},{FULL}],"totalCount":2,"hasMore":false}}',
    ),
]


@pytest.mark.parametrize(("method", "response", "wanted"), PRINTED)
def test_reads_print_every_member(method: str, response: Message, wanted: str) -> None:
    assert printed(method, response) == wanted


WRITES: list[tuple[str, Any, str]] = [
    (
        "task.create_attachment",
        attachments_pb2.CreateAttachmentResponse(
            id="ta-1",
            task_id="t-1",
            key="k",
            type=attachments_pb2.ATTACHMENT_TYPE_MARKDOWN,
            created_at=AT_11,
            revision=7,
        ),
        HEAD + '"markdown","createdAt":"2025-01-19T11:00:00Z"}',
    ),
    (
        "task.delete_attachment",
        attachments_pb2.DeleteAttachmentResponse(id="ta-1", task_id="t-1", key="k", deleted_at=AT_11, revision=7),
        '{"id":"ta-1","taskId":"t-1","key":"k","deleted":true,"deletedAt":"2025-01-19T11:00:00Z"}',
    ),
    (
        "task.create_attachments_batch",
        attachments_pb2.BatchCreateAttachmentsResponse(
            results=[
                attachments_pb2.BatchCreateResult(
                    created=attachments_pb2.CreateAttachmentResponse(
                        id="ta-1", task_id="t-1", key="k", type=attachments_pb2.ATTACHMENT_TYPE_URL, created_at=AT_11
                    )
                ),
                attachments_pb2.BatchCreateResult(error=attachments_pb2.BatchError(message="m")),
            ]
        ),
        (
            '{"results":[{"id":"ta-1","taskId":"t-1","key":"k","type":"url","createdAt":"2025-01-19T11:00:00Z"},'
            '{"error":{"message":"m"}}]}'
        ),
    ),
    (
        "task.delete_attachments_batch",
        attachments_pb2.BatchDeleteAttachmentsResponse(
            results=[attachments_pb2.BatchDeleteResult(error=attachments_pb2.BatchError(message="m"))]
        ),
        '{"results":[{"error":{"message":"m"}}]}',
    ),
    (
        "task.create",
        tasks_pb2.CreateTaskResponse(task=NEW_TASK),
        '{"id":"t-2","text":"y","status":"pending","priority":50,"metadata":{},"createdAt":"2025-01-19T11:00:00Z"}',
    ),
    (
        "task.update",
        tasks_pb2.UpdateTaskResponse(task=FULL_TASK),
        (
            '{"id":"t-1","text":"x","status":"completed","priority":0,'
            '"createdAt":"2025-01-19T11:00:00Z","updatedAt":"2025-01-19T11:00:00.250Z"}'
        ),
    ),
    (
        "task.complete",
        tasks_pb2.CompleteTaskResponse(task=FULL_TASK),
        '{"id":"t-1","status":"completed","completedAt":"2025-01-19T11:00:00.250Z"}',
    ),
    (
        "task.delete",
        tasks_pb2.DeleteTaskResponse(id="t-1", deleted_at=AT_11),
        '{"id":"t-1","deleted":true,"deletedAt":"2025-01-19T11:00:00Z"}',
    ),
]


@pytest.mark.parametrize(("method", "response", "wanted"), WRITES)
def test_writes_say_durability_only_when_it_is_pending(method: str, response: Any, wanted: str) -> None:
    assert printed(method, response) == wanted
    if "durability" not in type(response).DESCRIPTOR.fields_by_name:
        return  # a batch: its results say it, each by itself
    said = type(response)()
    said.CopyFrom(response)
    said.durability = attachments_pb2.DURABILITY_COMMITTED
    assert printed(method, said) == wanted
    said.durability = attachments_pb2.DURABILITY_PENDING
    assert printed(method, said) == wanted[:-1] + ',"durability":"pending"}'


def test_every_method_is_printed() -> None:
    methods = {"task.get_attachment", "task.get_attachments_batch"}
    assert methods | {row[0] for row in PRINTED} | {row[0] for row in WRITES} == set(METHODS)


BROKEN: dict[str, tuple[str, Message]] = {
    "JSON without a text": (
        "task.get_attachment",
        attachments_pb2.GetAttachmentResponse(attachment=attachment(json=attachments_pb2.JsonContent())),
    ),
    "no content": ("task.get_attachment", attachments_pb2.GetAttachmentResponse(attachment=attachment())),
    "no type": ("task.create_attachment", attachments_pb2.CreateAttachmentResponse()),
    "no status": ("task.get", tasks_pb2.GetTaskResponse(task=tasks_pb2.Task(metadata="{}"))),
}


@pytest.mark.parametrize(("method", "response"), BROKEN.values(), ids=BROKEN)
def test_a_broken_response_is_not_made_up_for(method: str, response: Message) -> None:
    with pytest.raises((ValueError, KeyError)):
        printed(method, response)


@pytest.mark.parametrize(
    ("seconds", "nanos", "wanted"),
    [
        (0, 0, "1970-01-01T00:00:00Z"),
        (0, 1_000_000, "1970-01-01T00:00:00.001Z"),
        (1737284400, 250_000_000, "2025-01-19T11:00:00.250Z"),
        (1737284400, 999_999_999, "2025-01-19T11:00:00.999Z"),
        (1737284400, 999_999, "2025-01-19T11:00:00Z"),
        (-1, 999_000_000, "1969-12-31T23:59:59.999Z"),
        (1709164800, 0, "2024-02-29T00:00:00Z"),
        (253402300799, 999_000_000, "9999-12-31T23:59:59.999Z"),
        (-62135596800, 0, "0001-01-01T00:00:00Z"),
    ],
)
def test_times_print_to_the_millisecond(seconds: int, nanos: int, wanted: str) -> None:
    assert print_time(Timestamp(seconds=seconds, nanos=nanos)) == wanted
