"""A batch is one script, however many tasks its attachments belong to."""

from __future__ import annotations

import secrets

from tests.work.conftest import Counted

TASKS = 20


async def test_a_batch_of_many_tasks_is_one_script(counted: Counted) -> None:
    tasks = [f"t-{secrets.token_hex(8)}" for _ in range(TASKS)]
    for task in tasks:
        await counted.wire.call("task.create", {"text": "a test", "id": task})
        await counted.wire.call("task.create_attachment", {"taskId": task, "key": "k", "type": "text", "content": "x"})
    await counted.start()
    requests = [{"taskId": task, "key": "k"} for task in tasks]
    found = await counted.wire.call("task.get_attachments_batch", {"requests": requests})
    assert [one["taskId"] for one in found["attachments"]] == tasks
    (asked,) = {text for task in tasks for text in counted.trips.about(task)}
    # Beside it, what a server asks for by itself.
    (command,) = [one for one in asked.split(b"EVALSHA")[1:] if tasks[0].encode() in one]
    assert all(task.encode() in command for task in tasks)
