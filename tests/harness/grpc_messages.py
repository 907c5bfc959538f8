"""The neutral form and protobuf: the harness's own mapping, independent of the shim's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from affix.v1 import attachments_pb2 as a
from affix.v1 import tasks_pb2 as t
from tests.harness.grpc_attachments import ATTACHMENT_METHODS
from tests.harness.grpc_mapping import Mapping, durability, fill, json, named, time, word
from tests.harness.json_text import dump
from tests.harness.wire import Params, RawJson, Result

# Tasks

_TASK_FIELDS = {"id": "id", "text": "text", "priority": "priority"}


def _create_task_request(params: Params) -> t.CreateTaskRequest:
    request = fill(t.CreateTaskRequest(), params, _TASK_FIELDS)
    if "metadata" in params:
        request.metadata = dump(params["metadata"])
    request.writers.extend(params.get("writers", ()))
    return request


def _update_request(params: Params) -> t.UpdateTaskRequest:
    request = fill(t.UpdateTaskRequest(), params, {"id": "id"})
    if "updates" in params:
        updates = params["updates"]
        request.updates.CopyFrom(fill(t.TaskUpdates(), updates, {"text": "text", "priority": "priority"}))
        if "status" in updates:
            request.updates.status = t.TaskStatus.Value(f"TASK_STATUS_{updates['status'].upper()}")
        if "metadata" in updates:
            request.updates.metadata = dump(updates["metadata"])
        if "writers" in updates:
            request.updates.writers.CopyFrom(t.TaskWriters(instance_ids=updates["writers"]))
    return request


_ORDER_BY = {
    "createdAt": t.TASK_ORDER_BY_CREATED_AT,
    "updatedAt": t.TASK_ORDER_BY_UPDATED_AT,
    "priority": t.TASK_ORDER_BY_PRIORITY,
    "status": t.TASK_ORDER_BY_STATUS,
    "assignedTo": t.TASK_ORDER_BY_ASSIGNED_TO,
}


def _list_tasks_request(params: Params) -> t.ListTasksRequest:
    names = {"assignedTo": "assigned_to", "priority": "priority", "limit": "limit", "offset": "offset"}
    request = fill(t.ListTasksRequest(), params, names)
    if "status" in params:
        request.status = t.TaskStatus.Value(f"TASK_STATUS_{params['status'].upper()}")
    if "orderBy" in params:
        request.order_by = _ORDER_BY[params["orderBy"]]
    if "order" in params:
        request.order = a.SortOrder.Value(f"SORT_ORDER_{params['order'].upper()}")
    return request


def _complete_request(params: Params) -> t.CompleteTaskRequest:
    names = {"id": "id", "taskId": "id", "workerId": "worker_id"}
    request = fill(t.CompleteTaskRequest(), params, names)
    if "result" in params:
        request.result.CopyFrom(json(params["result"]))
    return request


def _task(task: t.Task) -> Result:
    assert task.revision > 0
    return {
        "id": task.id,
        "text": task.text,
        "status": word(t.TaskStatus, task.status, "TASK_STATUS_"),
        "priority": task.priority,
        "metadata": RawJson(task.metadata),
        **({"assignedTo": task.assigned_to} if task.assigned_to else {}),
        **({"writers": list(task.writers)} if task.writers else {}),
        "createdBy": task.created_by,
        "createdAt": time(task.created_at),
        "updatedAt": time(task.updated_at),
        **({"completedAt": time(task.completed_at)} if task.HasField("completed_at") else {}),
        "attachmentCount": task.attachment_count,
    }


def _written(*names: str) -> Callable[[Any, Params], Result]:
    """Answer with these fields of the task, as the contract's table of tasks has them."""

    def result(response: Any, _: Params) -> Result:
        task = _task(response.task)
        return {**{name: task[name] for name in names}, **durability(response)}

    return result


def _tasks(response: t.ListTasksResponse, _: Params) -> Result:
    return {
        "tasks": [_task(task) for task in response.tasks],
        "totalCount": response.total_count,
        "hasMore": response.has_more,
    }


def _deleted_task(response: t.DeleteTaskResponse, _: Params) -> Result:
    return {"id": response.id, "deleted": True, "deletedAt": time(response.deleted_at), **durability(response)}


_T = "affix.v1.TaskService"

METHODS: dict[str, Mapping] = {
    **ATTACHMENT_METHODS,
    "task.create": Mapping(
        _T,
        "CreateTask",
        _create_task_request,
        _written("id", "text", "status", "priority", "metadata", "createdAt"),
    ),
    "task.get": Mapping(_T, "GetTask", named(t.GetTaskRequest, {"id": "id"}), lambda response, _: _task(response.task)),
    "task.update": Mapping(
        _T,
        "UpdateTask",
        _update_request,
        _written("id", "text", "status", "priority", "createdAt", "updatedAt"),
    ),
    "task.list": Mapping(_T, "ListTasks", _list_tasks_request, _tasks),
    "task.complete": Mapping(_T, "CompleteTask", _complete_request, _written("id", "status", "completedAt")),
    "task.delete": Mapping(_T, "DeleteTask", named(t.DeleteTaskRequest, {"id": "id"}), _deleted_task),
}
