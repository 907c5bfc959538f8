"""TaskService: decode, validate, call, encode."""

from __future__ import annotations

from affix.v1 import attachments_pb2
from affix.v1 import tasks_pb2 as pb
from affix_server import codec
from affix_server.auth.permissions import Access
from affix_server.calls import CallContext
from affix_server.domain import NewTask, TaskChanges, TaskOrderBy, TaskQuery
from affix_server.services.caller import Callers
from affix_server.storage.base import Tasks
from affix_server.validation import MAX_PRIORITY, MAX_TASK_LIST, Checks

_DEFAULT_PRIORITY = 50
_DEFAULT_LIMIT = 100


class TaskServicer:
    """The methods of affix.v1.TaskService, as its proto documents them."""

    def __init__(self, tasks: Tasks, callers: Callers, access: Access, *, max_content_bytes: int) -> None:
        """Serve what `tasks` stores to those whom `access` lets."""
        self._tasks = tasks
        self._callers = callers
        self._access = access
        self._max_content_bytes = max_content_bytes

    async def CreateTask(self, request: pb.CreateTaskRequest, context: CallContext) -> pb.CreateTaskResponse:  # noqa: N802 - gRPC's name
        """Register a task."""
        checks = Checks()
        checks.task_text(request.text)
        priority = request.priority if request.HasField("priority") else _DEFAULT_PRIORITY
        checks.number(priority, "priority", 0, MAX_PRIORITY)
        metadata = request.metadata if request.HasField("metadata") else "{}"
        checks.json_object(metadata, "metadata", self._max_content_bytes)
        if request.HasField("id"):
            checks.task_id(request.id, "id")
        checks.writers(request.writers, "writers")
        instance = self._callers.instance_id(context, checks)
        checks.done()
        task_id = request.id if request.HasField("id") else None
        self._access.register(context, task_id)
        new = NewTask(
            task_id, request.text, priority, metadata, tuple(request.writers), id_prefix=self._access.prefix(context)
        )
        written = await self._tasks.create(new, instance)
        return pb.CreateTaskResponse(task=codec.encode_counted(written), durability=codec.task_durability(written))

    async def GetTask(self, request: pb.GetTaskRequest, context: CallContext) -> pb.GetTaskResponse:  # noqa: N802
        """Read a task."""
        checks = Checks()
        checks.task_id(request.id, "id")
        checks.done()
        self._access.read(context, (request.id,))
        return pb.GetTaskResponse(task=codec.encode_counted(await self._tasks.get(request.id)))

    async def UpdateTask(self, request: pb.UpdateTaskRequest, context: CallContext) -> pb.UpdateTaskResponse:  # noqa: N802
        """Change a task."""
        checks = Checks()
        checks.task_id(request.id, "id")
        changes = self._changes(request, checks)
        instance = self._callers.instance_id(context, checks)
        checks.done()
        await (self._access.write if changes.writers is None else self._access.own)(context, request.id)
        written = await self._tasks.update(request.id, changes, instance)
        return pb.UpdateTaskResponse(task=codec.encode_counted(written), durability=codec.task_durability(written))

    def _changes(self, request: pb.UpdateTaskRequest, checks: Checks) -> TaskChanges:
        updates = request.updates
        text = updates.text if updates.HasField("text") else None
        priority = updates.priority if updates.HasField("priority") else None
        metadata = updates.metadata if updates.HasField("metadata") else None
        writers = tuple(updates.writers.instance_ids) if updates.HasField("writers") else None
        status = codec.decode_status(updates.status)
        if status is None and updates.status != pb.TASK_STATUS_UNSPECIFIED:
            checks.fail("updates.status", "must be one of pending, in_progress, completed, failed")
        elif text is None and priority is None and metadata is None and status is None and writers is None:
            checks.fail("updates", "must set at least one of text, status, priority, metadata, writers")
        if text is not None:
            checks.task_text(text, "updates.text")
        if priority is not None:
            checks.number(priority, "updates.priority", 0, MAX_PRIORITY)
        if metadata is not None:
            checks.json_object(metadata, "updates.metadata", self._max_content_bytes)
        if writers is not None:
            checks.writers(writers, "updates.writers.instance_ids")
        return TaskChanges(text=text, status=status, priority=priority, metadata=metadata, writers=writers)

    async def ListTasks(self, request: pb.ListTasksRequest, context: CallContext) -> pb.ListTasksResponse:  # noqa: N802
        """Read a page of tasks."""
        checks = Checks()
        status = codec.decode_status(request.status)
        if status is None and request.status != pb.TASK_STATUS_UNSPECIFIED:
            checks.fail("status", "must be one of pending, in_progress, completed, failed")
        order_by = codec.decode_order_by(request.order_by)
        if order_by is None and request.order_by != pb.TASK_ORDER_BY_UNSPECIFIED:
            checks.fail("order_by", "must be one of createdAt, updatedAt, priority, status, assignedTo")
        order = codec.decode_order(request.order, attachments_pb2.SORT_ORDER_DESC)
        if order is None:
            checks.fail("order", "must be asc or desc")
        if request.HasField("assigned_to"):
            checks.name(request.assigned_to, "assigned_to")
        if request.HasField("priority"):
            checks.number(request.priority, "priority", 0, MAX_PRIORITY)
        limit = request.limit if request.HasField("limit") else _DEFAULT_LIMIT
        checks.number(limit, "limit", 1, MAX_TASK_LIST)
        checks.number(request.offset, "offset", 0, None)
        checks.done()
        query = TaskQuery(
            status=status,
            assigned_to=request.assigned_to if request.HasField("assigned_to") else None,
            priority=request.priority if request.HasField("priority") else None,
            limit=limit,
            offset=request.offset,
            order_by=order_by or TaskOrderBy.CREATED_AT,
            descending=order == attachments_pb2.SORT_ORDER_DESC,
            id_prefix=self._access.prefix(context),
        )
        return codec.encode_task_page(await self._tasks.list(query))

    async def CompleteTask(self, request: pb.CompleteTaskRequest, context: CallContext) -> pb.CompleteTaskResponse:  # noqa: N802
        """Mark a task as completed."""
        checks = Checks()
        checks.task_id(request.id, "id")
        worker_id = request.worker_id if request.HasField("worker_id") else None
        if worker_id is not None:
            checks.name(worker_id, "worker_id")
        result = request.result.value if request.HasField("result") else None
        if result is not None:
            checks.json(result, "result.value", self._max_content_bytes)
        instance = self._callers.instance_id(context, checks)
        checks.done()
        await self._access.write(context, request.id)
        written = await self._tasks.complete(request.id, worker_id, result, instance)
        return pb.CompleteTaskResponse(task=codec.encode_counted(written), durability=codec.task_durability(written))

    async def DeleteTask(self, request: pb.DeleteTaskRequest, context: CallContext) -> pb.DeleteTaskResponse:  # noqa: N802
        """Delete a task."""
        checks = Checks()
        checks.task_id(request.id, "id")
        instance = self._callers.instance_id(context, checks)
        checks.done()
        await self._access.own(context, request.id)
        return codec.encode_deleted_task(await self._tasks.delete(request.id, instance))
