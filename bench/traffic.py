"""What callers send: requests for each operation on both wires, written to files for the load generators."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import Message

from affix.v1 import attachments_pb2 as pb
from affix.v1 import tasks_pb2

JSON_MOST = 100_000  # larger values are markdown documents

Ref = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Request:
    """One request on both wires."""

    method: str
    params: dict[str, object]
    rpc: str
    message: Message
    service: str = "AttachmentService"

    def json_rpc(self) -> bytes:
        """Return the JSON-RPC request, a line."""
        call = {"jsonrpc": "2.0", "id": 1, "method": self.method, "params": self.params}
        return json.dumps(call, separators=(",", ":")).encode()

    def framed(self) -> bytes:
        """Return the gRPC message with its length prefix."""
        text = self.message.SerializeToString()
        return b"\0" + len(text).to_bytes(4, "big") + text

    @property
    def path(self) -> str:
        """Return the gRPC path."""
        return f"/affix.v1.{self.service}/{self.rpc}"


def value(size: int, stamp: str) -> str:
    """Return a value of so many bytes: JSON text, or a markdown document if it is large. The stamp is in it."""
    if size <= JSON_MOST:
        head = f'{{"stamp":"{stamp}","complexity":"high","score":1.0,"build":12345678901234567890,"notes":"'
        return head + "n" * (size - len(head) - 2) + '"}'
    head = f"# {stamp}\n\n"
    line = "A paragraph of a report, as long as a line of it usually is.\n"
    return (head + line * (size // len(line) + 1))[:size]


def task(task_id: str) -> Request:
    """Register a task."""
    message = tasks_pb2.CreateTaskRequest(id=task_id, text="A task of the benchmark")
    return Request("task.create", {"id": task_id, "text": message.text}, "CreateTask", message, "TaskService")


def create(ref: Ref, text: str) -> Request:
    """Store a value of `value` under a name."""
    message = pb.CreateAttachmentRequest(task_id=ref[0], key=ref[1])
    params: dict[str, object] = {"taskId": ref[0], "key": ref[1]}
    if len(text) <= JSON_MOST:
        message.json.value = text
        params |= {"type": "json", "value": json.loads(text)}
    else:
        message.markdown.content = text
        params |= {"type": "markdown", "content": text}
    return Request("task.create_attachment", params, "CreateAttachment", message)


def get(ref: Ref) -> Request:
    """Read one."""
    message = pb.GetAttachmentRequest(task_id=ref[0], key=ref[1])
    return Request("task.get_attachment", {"taskId": ref[0], "key": ref[1]}, "GetAttachment", message)


def page(task_id: str, offset: int) -> Request:
    """Read 50 of a task."""
    message = pb.ListAttachmentsRequest(task_id=task_id, limit=50, offset=offset)
    params: dict[str, object] = {"taskId": task_id, "limit": 50, "offset": offset}
    return Request("task.list_attachments", params, "ListAttachments", message)


def batch(refs: Sequence[Ref]) -> Request:
    """Read several."""
    message = pb.BatchGetAttachmentsRequest(requests=[pb.AttachmentRef(task_id=task, key=key) for task, key in refs])
    params: dict[str, object] = {"requests": [{"taskId": task, "key": key} for task, key in refs]}
    return Request("task.get_attachments_batch", params, "BatchGetAttachments", message)


def batch_create(refs: Sequence[Ref], texts: Sequence[str]) -> Request:
    """Store several: how the stores are filled."""
    each = [create(ref, text) for ref, text in zip(refs, texts, strict=True)]
    message = pb.BatchCreateAttachmentsRequest()
    message.requests.extend(one.message for one in each)  # type: ignore[misc]  # create makes no others
    params: dict[str, object] = {"requests": [one.params for one in each]}
    return Request("task.create_attachments_batch", params, "BatchCreateAttachments", message)


def shuffled(refs: Sequence[Ref]) -> list[Ref]:
    """Return the same names in an order that is not that of storage, the same in every run."""
    mixed = list(refs)
    random.Random(1).shuffle(mixed)  # noqa: S311 - replayed, not secret
    return mixed


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests of one kind in files: a line each for wrk, length-prefixed messages for gRPC."""

    lines: Path
    frames: Path
    path: str
    requests: Sequence[Request]


def written(folder: Path, name: str, requests: Sequence[Request]) -> Traffic:
    """Write the requests for both generators."""
    lines, frames = folder / f"{name}.lines", folder / f"{name}.frames"
    lines.write_bytes(b"".join(one.json_rpc() + b"\n" for one in requests))
    frames.write_bytes(b"".join(one.framed() for one in requests))
    return Traffic(lines, frames, requests[0].path, requests)
