"""The methods, one row each: everything that differs between them is here or named here.

(design/contract.md, "Wires")
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message
from grpc.aio import Channel, UnaryUnaryMultiCallable
from msgspec import Raw

from affix.v1.attachments_pb2_grpc import AttachmentServiceStub
from affix.v1.tasks_pb2_grpc import TaskServiceStub
from affix_shim import requests, results, typed
from affix_shim.params import Params
from affix_shim.results import Options, Result
from affix_shim.typed import Typed


class Stubs:
    """The services' stubs over one channel."""

    def __init__(self, channel: Channel) -> None:
        """Make the stubs; nothing is sent."""
        self.attachments = AttachmentServiceStub(channel)
        self.tasks = TaskServiceStub(channel)


@dataclass(frozen=True, slots=True)
class Method:
    """How a JSON-RPC method is carried out; `failure` is what it is called when it fails.

    `has_revisions` says that its result has some, for callers that ask. `read` takes parameters in one step, where it
    is sure of them.
    """

    rpc: Callable[[Stubs], UnaryUnaryMultiCallable[Any, Any]]
    decode: Callable[[Params], Message]
    encode: Callable[[Any, Options], Result]
    failure: str
    has_revisions: bool = False
    read: Callable[[Raw], Typed | None] | None = None


SUBSCRIBE: Final = "task.subscribe"
UNSUBSCRIBE: Final = "task.unsubscribe"
# What makes sense only where more can be told later than the answer.
NEED_WEBSOCKET: Final = frozenset({SUBSCRIBE, UNSUBSCRIBE})

METHODS: Final = {
    "task.create_attachment": Method(
        rpc=lambda stubs: stubs.attachments.CreateAttachment,
        decode=requests.create_attachment,
        encode=results.create_attachment,
        failure="Failed to store attachment",
        has_revisions=True,
        read=typed.read_create,
    ),
    "task.get_attachment": Method(
        rpc=lambda stubs: stubs.attachments.GetAttachment,
        decode=requests.get_attachment,
        encode=results.get_attachment,
        failure="Failed to retrieve attachment",
        has_revisions=True,
        read=typed.read_get,
    ),
    "task.list_attachments": Method(
        rpc=lambda stubs: stubs.attachments.ListAttachments,
        decode=requests.list_attachments,
        encode=results.list_attachments,
        failure="Failed to retrieve attachments",
        has_revisions=True,
        read=typed.read_list,
    ),
    "task.delete_attachment": Method(
        rpc=lambda stubs: stubs.attachments.DeleteAttachment,
        decode=requests.delete_attachment,
        encode=results.delete_attachment,
        failure="Failed to delete attachment",
        has_revisions=True,
    ),
    "task.get_attachments_batch": Method(
        rpc=lambda stubs: stubs.attachments.BatchGetAttachments,
        decode=requests.batch_get_attachments,
        encode=results.batch_get_attachments,
        failure="Failed to retrieve attachments",
        has_revisions=True,
        read=typed.read_batch_get,
    ),
    "task.create_attachments_batch": Method(
        rpc=lambda stubs: stubs.attachments.BatchCreateAttachments,
        decode=requests.batch_create_attachments,
        encode=results.batch_create_attachments,
        failure="Failed to store attachments",
        has_revisions=True,
    ),
    "task.delete_attachments_batch": Method(
        rpc=lambda stubs: stubs.attachments.BatchDeleteAttachments,
        decode=requests.batch_delete_attachments,
        encode=results.batch_delete_attachments,
        failure="Failed to delete attachments",
        has_revisions=True,
    ),
    "task.create": Method(
        rpc=lambda stubs: stubs.tasks.CreateTask,
        decode=requests.create_task,
        encode=results.create_task,
        failure="Failed to store task",
    ),
    "task.get": Method(
        rpc=lambda stubs: stubs.tasks.GetTask,
        decode=requests.get_task,
        encode=results.get_task,
        failure="Failed to retrieve task",
    ),
    "task.update": Method(
        rpc=lambda stubs: stubs.tasks.UpdateTask,
        decode=requests.update_task,
        encode=results.update_task,
        failure="Failed to update task",
    ),
    "task.list": Method(
        rpc=lambda stubs: stubs.tasks.ListTasks,
        decode=requests.list_tasks,
        encode=results.list_tasks,
        failure="Failed to retrieve tasks",
    ),
    "task.complete": Method(
        rpc=lambda stubs: stubs.tasks.CompleteTask,
        decode=requests.complete_task,
        encode=results.complete_task,
        failure="Failed to complete task",
    ),
    "task.delete": Method(
        rpc=lambda stubs: stubs.tasks.DeleteTask,
        decode=requests.delete_task,
        encode=results.delete_task,
        failure="Failed to delete task",
    ),
}
