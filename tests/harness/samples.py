"""Attachments to create, and how often-used calls are spelled."""

from __future__ import annotations

import re
from typing import Any

from tests.harness.wire import RawJson, Result, Wire

ATTACHMENT_ID = re.compile(r"ta-\d{13}-[0-9a-z]{9}")
TASK_ID = re.compile(r"t-\d{13}-[0-9a-z]{6}")
# As protobuf's JSON prints a time of millisecond precision.
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")

# One content of each type.
SAMPLES: dict[str, dict[str, Any]] = {
    "json": {"type": "json", "value": RawJson('{"complexity": "high", "estimatedHours": 8, "risks": [1.0, null]}')},
    "markdown": {"type": "markdown", "content": "## Notes\n\n- use *Redis*\n"},
    "text": {"type": "text", "content": "one line\r\nanother\ttabbed"},
    "url": {"type": "url", "url": "https://docs.example.com/guide?page=1#top"},
    "binary": {"type": "binary", "mimeType": "application/pdf", "size": 2048576},
}
TEXT = SAMPLES["text"]


def text(content: str) -> dict[str, Any]:
    return {"type": "text", "content": content}


def json_value(value: str) -> dict[str, Any]:
    return {"type": "json", "value": RawJson(value)}


async def create(
    wire: Wire, task: str, key: str, content: dict[str, Any] = TEXT, *, instance: str | None = None
) -> Result:
    return await wire.call("task.create_attachment", {"taskId": task, "key": key, **content}, instance=instance)


async def get(wire: Wire, task: str, key: str) -> Result:
    return await wire.call("task.get_attachment", {"taskId": task, "key": key})


async def delete(wire: Wire, task: str, key: str, *, instance: str | None = None) -> Result:
    return await wire.call("task.delete_attachment", {"taskId": task, "key": key}, instance=instance)


async def page(wire: Wire, task: str, **options: Any) -> Result:
    return await wire.call("task.list_attachments", {"taskId": task, **options})


async def batch(wire: Wire, *refs: tuple[str, str]) -> list[Result]:
    """Batch get, given (task, key) each."""
    requests = [{"taskId": task, "key": key} for task, key in refs]
    answer = await wire.call("task.get_attachments_batch", {"requests": requests})
    assert answer.keys() == {"attachments"}
    attachments: list[Result] = answer["attachments"]
    return attachments


def keys(answer: Result) -> list[str]:
    """The keys on a page, in order."""
    return [attachment["key"] for attachment in answer["attachments"]]


def filled(params: Any, task: str) -> Any:
    """Parameters from a table, with the task in place of each "T"."""
    if params == "T":
        return task
    if type(params) is dict:
        return {name: filled(value, task) for name, value in params.items()}
    return [filled(value, task) for value in params] if type(params) is list else params
