"""What Affix stores, free of any wire or store.

Times are integers: milliseconds since the Unix epoch, UTC. JSON is its text.
"""

from __future__ import annotations

from affix_server.domain.attachments import (
    ALWAYS,
    Attachment,
    AttachmentType,
    BinaryContent,
    Condition,
    Content,
    Created,
    Creation,
    Deleted,
    Deletion,
    JsonContent,
    MarkdownContent,
    Page,
    Query,
    Ref,
    Summary,
    TextContent,
    UrlContent,
)
from affix_server.domain.events import (
    AttachmentEvent,
    EventKind,
    Watched,
)
from affix_server.domain.kept import KeptAttachment, are_all
from affix_server.domain.tasks import (
    CountedTask,
    DeletedTask,
    NewTask,
    Task,
    TaskChanges,
    TaskOrderBy,
    TaskPage,
    TaskQuery,
    TaskRights,
    TaskStatus,
    WrittenTask,
)

__all__ = [
    "ALWAYS",
    "Attachment",
    "AttachmentEvent",
    "AttachmentType",
    "BinaryContent",
    "Condition",
    "Content",
    "CountedTask",
    "Created",
    "Creation",
    "Deleted",
    "DeletedTask",
    "Deletion",
    "EventKind",
    "JsonContent",
    "KeptAttachment",
    "MarkdownContent",
    "NewTask",
    "Page",
    "Query",
    "Ref",
    "Summary",
    "Task",
    "TaskChanges",
    "TaskOrderBy",
    "TaskPage",
    "TaskQuery",
    "TaskRights",
    "TaskStatus",
    "TextContent",
    "UrlContent",
    "Watched",
    "WrittenTask",
    "are_all",
]
