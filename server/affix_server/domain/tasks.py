"""Tasks: what they are, and what may be asked of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class TaskStatus(StrEnum):
    """How far a task is."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"


class TaskOrderBy(StrEnum):
    """What a list of tasks is ordered by; equal tasks are ordered by id."""

    CREATED_AT = "createdAt"
    UPDATED_AT = "updatedAt"
    PRIORITY = "priority"
    STATUS = "status"
    ASSIGNED_TO = "assignedTo"


@dataclass(frozen=True, slots=True)
class Task:
    """A task as it is stored; `metadata` is the text of a JSON object."""

    id: str
    text: str
    status: TaskStatus
    priority: int
    metadata: str
    assigned_to: str | None
    created_by: str
    created_at: int
    updated_at: int
    completed_at: int | None
    revision: int
    writers: tuple[str, ...] = ()

    @property
    def rights(self) -> TaskRights:
        """Who may change it."""
        return TaskRights(self.created_by, self.writers)


@dataclass(frozen=True, slots=True)
class TaskRights:
    """Who may change a task and its attachments: the instance that registered it, and those that it names."""

    owner: str
    writers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CountedTask:
    """A task and how many attachments it has."""

    task: Task
    attachment_count: int


@dataclass(frozen=True, slots=True)
class WrittenTask:
    """A task as a write left it; `pending` if only Redis has the write yet.

    `attachment_count` is None if only a store that is away could tell.
    """

    task: Task
    attachment_count: int | None
    pending: bool = False


@dataclass(frozen=True, slots=True)
class DeletedTask:
    """What a task deletion removed; `pending` if only Redis knows of it yet."""

    id: str
    deleted_at: int
    pending: bool = False


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to register; an id is made when `id` is None, beginning with `id_prefix`.

    `writers` are the instances that may change it beside its creator.
    """

    id: str | None
    text: str
    priority: int
    metadata: str
    writers: tuple[str, ...] = ()
    id_prefix: str = ""


@dataclass(frozen=True, slots=True)
class TaskChanges:
    """What an update sets; None leaves a field as it is.

    `metadata` is the text of a JSON object, merged member by member at the top level, or with
    `replaces_metadata` put in the place of what is there. With `if_revision` nothing is changed
    unless the task has that revision. `writers` takes the place of those that there are.
    """

    text: str | None = None
    status: TaskStatus | None = None
    priority: int | None = None
    metadata: str | None = None
    replaces_metadata: bool = False
    if_revision: int | None = None
    writers: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """Which page of which list of tasks; with `id_prefix` only of tasks whose id begins with it."""

    status: TaskStatus | None
    assigned_to: str | None
    priority: int | None
    limit: int
    offset: int
    order_by: TaskOrderBy
    descending: bool
    id_prefix: str = ""


@dataclass(frozen=True, slots=True)
class TaskPage:
    """A page of tasks in the order asked for."""

    tasks: tuple[CountedTask, ...]
    total_count: int
    has_more: bool
