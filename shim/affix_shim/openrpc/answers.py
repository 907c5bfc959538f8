"""What each method answers, as JSON Schema. Members may be added in later versions: none forbids others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from affix_shim.openrpc.values import BOOLEAN, CONTENTS, COUNT, Schema, by_type, none_of, ref
from affix_shim.requests import CONTENT, STATUSES, TYPES
from affix_shim.results import PROGRESS

_TIME: Final = ref("time")
_STATUS: Final[Schema] = {"type": "string", "enum": list(STATUSES)}
_INSTANCE: Final[Schema] = {"type": "string"}
_ATTACHMENT_ID: Final[Schema] = {"type": "string"}
_DONE: Final[Schema] = {"const": True}
# Its members are there on asking, or when there is something to say.
_DURABILITY: Final[Schema] = {
    "description": "There when PostgreSQL is away: Redis keeps the write until it returns.",
    "type": "string",
    "enum": ["pending"],
}
_REF: Final[Mapping[str, Schema]] = {"taskId": ref("taskId"), "key": ref("key")}
# In a summary the contents are left out; what is told of a file elsewhere is none.
_LEFT_OUT: Final = tuple(name for names in CONTENT.values() for name in names if name not in CONTENT["binary"])


def _object(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None, **rules: object) -> Schema:
    return {"type": "object", "properties": {**required, **(optional or {})}, "required": list(required), **rules}


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _page(name: str, items: Schema, optional: Mapping[str, Schema] | None = None) -> Schema:
    return _object({name: _array(items), "totalCount": COUNT, "hasMore": BOOLEAN}, optional)


def _each(done: str) -> Schema:
    return _object({"results": _array({"oneOf": [ref(done), _object({"error": ref("error")})]})})


def _event(
    types: Iterable[str], required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None
) -> Schema:
    return _object({"type": {"enum": list(types)}, **required}, optional)


_WRITTEN: Final[Mapping[str, Schema]] = {"writtenBy": _INSTANCE, "writtenAt": _TIME, "revision": ref("revision")}
_OF_ATTACHMENT: Final[Mapping[str, Schema]] = {**_REF, "attachmentId": _ATTACHMENT_ID, **_WRITTEN}
_OF_TYPE: Final[Mapping[str, Schema]] = {**_OF_ATTACHMENT, "attachmentType": ref("type")}

# What results hold: each a component of its name.
PARTS: Final[Mapping[str, Schema]] = {
    "createdAttachment": _object(
        {"id": _ATTACHMENT_ID, **_REF, "type": ref("type"), "createdAt": _TIME},
        {"expiresAt": _TIME, "revision": ref("revision"), "durability": _DURABILITY},
    ),
    "deletedAttachment": _object(
        {"id": _ATTACHMENT_ID, **_REF, "deleted": _DONE, "deletedAt": _TIME},
        {"revision": ref("revision"), "durability": _DURABILITY},
    ),
    "attachment": _object(
        {
            "id": _ATTACHMENT_ID,
            **_REF,
            "type": {"enum": list(TYPES)},
            "createdBy": _INSTANCE,
            "createdAt": _TIME,
            "updatedAt": _TIME,
        },
        {**CONTENTS, "contentBytes": COUNT, "expiresAt": _TIME, "revision": ref("revision")},
        oneOf=[
            {"oneOf": by_type(), **none_of(["contentBytes"])},
            {"required": ["contentBytes"], **none_of(_LEFT_OUT)},
        ],
    ),
    "task": _object(
        {
            "id": ref("taskId"),
            "text": ref("taskText"),
            "status": _STATUS,
            "priority": ref("priority"),
            "metadata": ref("metadata"),
            "createdBy": _INSTANCE,
            "createdAt": _TIME,
            "updatedAt": _TIME,
            "attachmentCount": COUNT,
        },
        {"assignedTo": ref("name"), "writers": ref("writers"), "completedAt": _TIME},
    ),
    "event": {
        "description": "What happened to an attachment, or that its task is gone with all of them.",
        "oneOf": [
            _event(("created", "overwritten"), _OF_TYPE, {"attachment": ref("attachment")}),
            _event(("deleted",), _OF_ATTACHMENT),
            _event(("task_deleted",), {"taskId": ref("taskId"), **_WRITTEN}),
            _event((PROGRESS,), {}),
        ],
    },
    "subscription": {
        "description": "The parameters of the notification task.subscription; one with error is the last.",
        "oneOf": [
            _object(
                {"subscriptionId": ref("subscriptionId"), "event": ref("event"), "resumeToken": ref("resumeToken")}
            ),
            _object({"subscriptionId": ref("subscriptionId"), "error": ref("error")}),
        ],
    },
}

ANSWERS: Final[Mapping[str, Schema]] = {
    "task.create_attachment": ref("createdAttachment"),
    "task.get_attachment": ref("attachment"),
    "task.list_attachments": _page(
        "attachments",
        ref("attachment"),
        {"degraded": {"description": "There when neither store could be asked.", "const": True}},
    ),
    "task.delete_attachment": ref("deletedAttachment"),
    "task.get_attachments_batch": _object(
        {"attachments": _array({"oneOf": [ref("attachment"), {"type": "null"}]})},
    ),
    "task.create_attachments_batch": _each("createdAttachment"),
    "task.delete_attachments_batch": _each("deletedAttachment"),
    "task.create": _object(
        {
            "id": ref("taskId"),
            "text": ref("taskText"),
            "status": _STATUS,
            "priority": ref("priority"),
            "metadata": ref("metadata"),
            "createdAt": _TIME,
        },
        {"durability": _DURABILITY},
    ),
    "task.get": ref("task"),
    "task.update": _object(
        {
            "id": ref("taskId"),
            "text": ref("taskText"),
            "status": _STATUS,
            "priority": ref("priority"),
            "createdAt": _TIME,
            "updatedAt": _TIME,
        },
        {"durability": _DURABILITY},
    ),
    "task.list": _page("tasks", ref("task")),
    "task.complete": _object(
        {"id": ref("taskId"), "status": _STATUS, "completedAt": _TIME}, {"durability": _DURABILITY}
    ),
    "task.delete": _object({"id": ref("taskId"), "deleted": _DONE, "deletedAt": _TIME}, {"durability": _DURABILITY}),
    "task.subscribe": _object({"subscriptionId": ref("subscriptionId"), "resumeToken": ref("resumeToken")}),
    "task.unsubscribe": _object({"subscriptionId": ref("subscriptionId"), "unsubscribed": _DONE}),
}
