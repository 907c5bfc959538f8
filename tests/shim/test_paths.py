"""The names of bad parameters, from the ones gRPC callers see."""

from __future__ import annotations

import pytest

from affix_shim.paths import json_path


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("task_id", "taskId"),
        ("key", "key"),
        ("json.value", "value"),
        ("markdown.content", "content"),
        ("text.content", "content"),
        ("url.url", "url"),
        ("binary.mime_type", "mimeType"),
        ("binary.size", "size"),
        ("requests", "requests"),
        ("requests[3].task_id", "requests[3].taskId"),
        ("requests[3].json.value", "requests[3].value"),
        ("requests[12].if_revision", "requests[12].ifRevision"),
        ("updates.text", "updates.text"),
        ("updates.metadata", "updates.metadata"),
        ("updates.writers.instance_ids[2]", "updates.writers[2]"),
        ("result.value", "result"),
        ("result", "result"),
        ("worker_id", "workerId"),
        ("assigned_to", "assignedTo"),
        ("order_by", "orderBy"),
        ("x-instance-id", "x-instance-id"),
    ],
)
def test_protobuf_paths_become_the_names_of_json(path: str, name: str) -> None:
    assert json_path(path) == name
