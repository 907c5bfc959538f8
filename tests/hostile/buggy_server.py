"""`affix serve` with bugs of ours, each of which has what a caller sent in its text and in its frames.

`python -m tests.hostile.buggy_server`: they strike where a text holds `BUG`.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any
from unittest.mock import patch

from affix_cli.main import main
from affix_server.services.attachments import AttachmentServicer
from affix_server.services.tasks import TaskServicer
from affix_server.storage.postgres import attachments
from affix_shim.gateway import Gateway

_create, _task, _call, _write = (
    AttachmentServicer.CreateAttachment,
    TaskServicer.CreateTask,
    Gateway.call,
    attachments.write_attachments,
)
_KEPT: set[asyncio.Task[None]] = set()


def _strike(what: object) -> None:
    """Raise with a text, a cause and local variables that hold what should not be told."""
    told = str(what)
    try:
        int(told)
    except ValueError as error:  # its text has what it was given
        raise RuntimeError(f"a bug with {told}") from error


async def _later(what: str) -> None:
    _strike(what)


async def _create_attachment(self: Any, request: Any, context: Any) -> Any:
    if "BUG" in request.key:
        _KEPT.clear()
        task = asyncio.create_task(_later(str(request)))  # nobody ever looks at it
        await asyncio.wait((task,))
        del task
        _strike(request)
    return await _create(self, request, context)


async def _create_task(self: Any, request: Any, context: Any) -> Any:
    if "BUG" in request.text:
        _strike(request)
    return await _task(self, request, context)


async def _gateway(self: Any, name: str, text: Any, caller: Any) -> Any:
    if name == "task.update" and "BUG" in str(text, "utf-8"):
        _strike(str(text, "utf-8"))
    return await _call(self, name, text, caller)


async def _write_attachments(connection: Any, writes: Any, *rest: Any) -> Any:
    for write in writes:
        if "STORE" in write.ref.key:
            _strike(write)
    return await _write(connection, writes, *rest)


if __name__ == "__main__":
    for target, name, by in (
        (AttachmentServicer, "CreateAttachment", _create_attachment),
        (TaskServicer, "CreateTask", _create_task),
        (Gateway, "call", _gateway),
        (attachments, "write_attachments", _write_attachments),
    ):
        patch.object(target, name, by).start()  # for good
    sys.argv = ["affix", "serve"]
    main()
