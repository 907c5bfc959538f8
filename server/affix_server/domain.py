"""What Affix stores, free of any wire or store.

Times are integers: milliseconds since the Unix epoch, UTC. JSON is its text.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, NamedTuple


class AttachmentType(StrEnum):
    """The five types, spelled as in JSON answers, in Redis and in Postgres."""

    JSON = "json"
    MARKDOWN = "markdown"
    TEXT = "text"
    URL = "url"
    BINARY = "binary"


@dataclass(frozen=True, slots=True)
class JsonContent:
    """A JSON value as its text, never re-printed."""

    value: str
    type: ClassVar = AttachmentType.JSON


@dataclass(frozen=True, slots=True)
class MarkdownContent:
    """A markdown document."""

    content: str
    type: ClassVar = AttachmentType.MARKDOWN


@dataclass(frozen=True, slots=True)
class TextContent:
    """Plain text."""

    content: str
    type: ClassVar = AttachmentType.TEXT


@dataclass(frozen=True, slots=True)
class UrlContent:
    """A link."""

    url: str
    type: ClassVar = AttachmentType.URL


@dataclass(frozen=True, slots=True)
class BinaryContent:
    """A reference to binary data kept elsewhere; `size` in bytes, if known."""

    mime_type: str
    size: int | None
    type: ClassVar = AttachmentType.BINARY


Content = JsonContent | MarkdownContent | TextContent | UrlContent | BinaryContent


class Ref(NamedTuple):
    """The name of an attachment."""

    task_id: str
    key: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """An attachment as it is stored."""

    id: str
    task_id: str
    key: str
    content: Content
    created_by: str
    created_at: int
    updated_at: int
    revision: int

    @property
    def type(self) -> AttachmentType:
        """The type of its content."""
        return self.content.type


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything of an attachment but its content, and how many bytes of UTF-8 that has."""

    id: str
    task_id: str
    key: str
    type: AttachmentType
    content_bytes: int
    mime_type: str | None
    size: int | None
    created_by: str
    created_at: int
    updated_at: int
    revision: int


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold under a key for a write to happen: the revision that is there, or that nothing is."""

    revision: int | None = None
    absent: bool = False

    def __bool__(self) -> bool:
        """Whether anything must hold at all."""
        return self.absent or self.revision is not None

    def holds(self, current: int | None) -> bool:
        """Tell whether it holds where the attachment has the revision `current`, None for no attachment."""
        if self.absent:
            return current is None
        return self.revision in {None, current}


ALWAYS = Condition()


@dataclass(frozen=True, slots=True)
class Created:
    """The identity of what a create stored; `pending` if only Redis has it yet."""

    id: str
    task_id: str
    key: str
    type: AttachmentType
    created_at: int
    revision: int
    pending: bool = False


@dataclass(frozen=True, slots=True)
class Deleted:
    """What a delete removed; `pending` if only Redis knows of it yet."""

    id: str
    task_id: str
    key: str
    deleted_at: int
    revision: int
    pending: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """Which page of which list of a task's attachments; ordered by (created_at, key).

    `summaries` asks for everything but the contents.
    """

    task_id: str
    type: AttachmentType | None = None
    key_prefix: str = ""
    limit: int = 50
    offset: int = 0
    descending: bool = False
    summaries: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a task's attachments, or of their summaries, in the order asked for.

    `degraded` marks the empty page that stands in when no store can answer.
    """

    attachments: tuple[Attachment | Summary, ...]
    total_count: int
    has_more: bool
    degraded: bool = False


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
    """A task to register; an id is made when `id` is None."""

    id: str | None
    text: str
    priority: int
    metadata: str


@dataclass(frozen=True, slots=True)
class TaskChanges:
    """What an update sets; None leaves a field as it is.

    `metadata` is the text of a JSON object, merged member by member at the top level, or with
    `replaces_metadata` put in the place of what is there. With `if_revision` nothing is changed
    unless the task has that revision.
    """

    text: str | None = None
    status: TaskStatus | None = None
    priority: int | None = None
    metadata: str | None = None
    replaces_metadata: bool = False
    if_revision: int | None = None


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """Which page of which list of tasks."""

    status: TaskStatus | None
    assigned_to: str | None
    priority: int | None
    limit: int
    offset: int
    order_by: TaskOrderBy
    descending: bool


@dataclass(frozen=True, slots=True)
class TaskPage:
    """A page of tasks in the order asked for."""

    tasks: tuple[CountedTask, ...]
    total_count: int
    has_more: bool
