"""Every method against a service that is not there."""

from __future__ import annotations

import pytest

from affix_shim.methods import METHODS
from tests.shim.conftest import Shim

# The smallest call of each method, its names, and what its failure is called.
FAILURES = [
    ("task.create_attachment", '{"taskId":"t","key":"k","type":"json","value":1}', "Failed to store attachment"),
    ("task.get_attachment", '{"taskId":"t","key":"k"}', "Failed to retrieve attachment"),
    ("task.list_attachments", '{"taskId":"t"}', "Failed to retrieve attachments"),
    ("task.delete_attachment", '{"taskId":"t","key":"k"}', "Failed to delete attachment"),
    ("task.get_attachments_batch", '{"requests":[{"taskId":"t","key":"k"}]}', "Failed to retrieve attachments"),
    (
        "task.create_attachments_batch",
        '{"requests":[{"taskId":"t","key":"k","type":"text","content":""}]}',
        "Failed to store attachments",
    ),
    ("task.delete_attachments_batch", '{"requests":[{"taskId":"t","key":"k"}]}', "Failed to delete attachments"),
    ("task.create", '{"text":"x","id":"t"}', "Failed to store task"),
    ("task.get", '{"id":"t"}', "Failed to retrieve task"),
    ("task.update", '{"id":"t","updates":{"text":"x"}}', "Failed to update task"),
    ("task.list", "{}", "Failed to retrieve tasks"),
    ("task.complete", '{"taskId":"t"}', "Failed to complete task"),
    ("task.delete", '{"id":"t"}', "Failed to delete task"),
]


@pytest.mark.parametrize(("method", "params", "phrase"), FAILURES)
async def test_a_service_that_is_not_there_fails_each_method_by_its_name(
    lonely_shim: Shim, method: str, params: str, phrase: str
) -> None:
    names: dict[str, str] = {}
    if method != "task.list" and "requests" not in params:
        names["taskId"] = "t"
    if '"key":"k"' in params and "requests" not in params:
        names["key"] = "k"
    error = {"code": -32500, "message": phrase, "data": {**names, "reason": "Service unreachable"}}
    assert (await lonely_shim.call(method, params))["error"] == error


def test_every_method_has_its_phrase() -> None:
    assert [row[0] for row in FAILURES] == list(METHODS)
