"""What each method takes, as one JSON Schema of its parameters by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from affix_shim.openrpc.values import BOOLEAN, CONTENTS, Schema, by_type, ref
from affix_shim.params import INT64
from affix_shim.requests import ORDER_BY, ORDERS, STATUSES, VIEWS

_STATUS: Final[Schema] = {"type": "string", "enum": list(STATUSES)}
_VIEW: Final[Schema] = {
    "description": "Whether contents are sent, or their size alone.",
    "type": "string",
    "enum": list(VIEWS),
    "default": "full",
}
_OFFSET: Final[Schema] = {
    "description": "How many to pass over.",
    "type": "integer",
    "minimum": 0,
    "maximum": INT64.high,
    "default": 0,
}
_REF: Final[Mapping[str, Schema]] = {"taskId": ref("taskId"), "key": ref("key")}
_IF_REVISION: Final[Mapping[str, Schema]] = {"ifRevision": ref("revision")}
MOST_REQUESTS: Final = 100


def _object(properties: Mapping[str, Schema], required: Iterable[str] = (), **rules: object) -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": dict(properties),
        "required": list(required),
        **rules,
    }


def _limit(most: int, default: int) -> Schema:
    return {
        "description": "How many to answer with at most.",
        "type": "integer",
        "minimum": 1,
        "maximum": most,
        "default": default,
    }


def _order(default: str) -> Schema:
    return {"type": "string", "enum": list(ORDERS), "default": default}


def _requests(name: str, what: str) -> Schema:
    return {
        "description": what,
        "type": "array",
        "items": ref(name),
        "minItems": 1,
        "maxItems": MOST_REQUESTS,
    }


_CREATE: Final = _object(
    {
        **_REF,
        "type": ref("type"),
        **CONTENTS,
        **_IF_REVISION,
        "ifAbsent": {"description": "Store only what is not there yet.", **BOOLEAN, "default": False},
        "expiresAt": ref("moment"),
        "ttlSeconds": {
            "description": "How long it stays, in seconds; without this and expiresAt, until it is deleted.",
            "type": "integer",
            "minimum": 1,
            "maximum": 315_360_000,
        },
    },
    ("taskId", "key", "type"),
    oneOf=by_type(),
    allOf=[
        {"not": {"required": ["expiresAt", "ttlSeconds"]}},
        {"not": {"required": ["ifRevision", "ifAbsent"], "properties": {"ifAbsent": {"const": True}}}},
    ],
)
_DELETE: Final = _object({**_REF, **_IF_REVISION}, ("taskId", "key"))
_UPDATES: Final = _object(
    {
        "text": ref("taskText"),
        "status": _STATUS,
        "priority": ref("priority"),
        "metadata": ref("metadata"),
        "writers": ref("writers"),
    },
    minProperties=1,
)

# What the items of a batch, and `updates`, are: each a component of its name.
PARTS: Final[Mapping[str, Schema]] = {
    "attachmentRef": _object(_REF, ("taskId", "key")),
    "newAttachment": _CREATE,
    "attachmentDeletion": _DELETE,
    "taskUpdates": _UPDATES,
}

PARAMETERS: Final[Mapping[str, Schema]] = {
    "task.create_attachment": _CREATE,
    "task.get_attachment": _object(_REF, ("taskId", "key")),
    "task.list_attachments": _object(
        {
            "taskId": ref("taskId"),
            "type": ref("type"),
            "limit": _limit(100, 50),
            "offset": _OFFSET,
            "keyPrefix": ref("keyPrefix"),
            "view": _VIEW,
            "order": _order("asc"),
        },
        ("taskId",),
    ),
    "task.delete_attachment": _DELETE,
    "task.get_attachments_batch": _object(
        {
            "requests": _requests("attachmentRef", "Which attachments; they are answered in this order."),
            "allowMissing": {
                "description": "Answer null for one that is missing; otherwise the whole call fails.",
                **BOOLEAN,
                "default": False,
            },
        },
        ("requests",),
    ),
    "task.create_attachments_batch": _object(
        {"requests": _requests("newAttachment", "What to store, each under a key of its own.")}, ("requests",)
    ),
    "task.delete_attachments_batch": _object(
        {"requests": _requests("attachmentDeletion", "What to delete, no attachment twice.")}, ("requests",)
    ),
    "task.create": _object(
        {
            "text": ref("taskText"),
            "priority": {"type": "integer", "minimum": 0, "maximum": 100, "default": 50},
            "metadata": ref("metadata"),
            "id": ref("taskId"),
            "writers": ref("writers"),
        },
        ("text",),
    ),
    "task.get": _object({"id": ref("taskId")}, ("id",)),
    "task.update": _object({"id": ref("taskId"), "updates": ref("taskUpdates")}, ("id", "updates")),
    "task.list": _object(
        {
            "status": _STATUS,
            "assignedTo": ref("name"),
            "priority": ref("priority"),
            "limit": _limit(1000, 100),
            "offset": _OFFSET,
            "orderBy": {"type": "string", "enum": list(ORDER_BY), "default": "createdAt"},
            "order": _order("desc"),
        }
    ),
    "task.complete": _object(
        {
            "id": ref("taskId"),
            "taskId": ref("taskId"),
            "workerId": ref("name"),
            "result": ref("json"),
        },
        anyOf=[{"required": ["id"]}, {"required": ["taskId"]}],
    ),
    "task.delete": _object({"id": ref("taskId")}, ("id",)),
    "task.subscribe": _object(
        {"taskId": ref("taskId"), "keyPrefix": ref("keyPrefix"), "resumeToken": ref("resumeToken"), "view": _VIEW}
    ),
    "task.unsubscribe": _object({"subscriptionId": ref("subscriptionId")}, ("subscriptionId",)),
}

# What a method takes whose result has revisions.
WITH_REVISION: Final[Mapping[str, Schema]] = {
    "withRevision": {"description": "Have revision in the result.", **BOOLEAN, "default": False}
}
