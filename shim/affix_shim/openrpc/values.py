"""What a value may be, as JSON Schema (draft 7, which OpenRPC 1.3 goes by).

Lengths, bounds and patterns are the server's rules, said again here since the shim does not know the server;
tests/discovery asks a running service whether each holds. Patterns are those of ECMA 262, in the part that is Python's
too, but for `$`, which is the very end, and for digits, which are ten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from affix_shim.params import INT64
from affix_shim.requests import CONTENT, TYPES
from affix_shim.times import RFC3339

Schema = dict[str, object]

_CONTROL: Final = r"\u0000-\u001f\u007f-\u009f"
_MIME_NAME: Final = "[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_MIME_ATOM: Final = "[!#$%&'*+.0-9A-Z^_`a-z{|}~-]+"
_MIME_QUOTED: Final = r'"(?:[ !#-\[\]-~]|\\[ -~])*"'
_SCRIPTS: Final = "^(?:[Jj][Aa][Vv][Aa][Ss][Cc][Rr][Ii][Pp][Tt]|[Dd][Aa][Tt][Aa]|[Vv][Bb][Ss][Cc][Rr][Ii][Pp][Tt]):"

BOOLEAN: Final[Schema] = {"type": "boolean"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}

# Each is a component of its name.
VALUES: Final[Mapping[str, Schema]] = {
    "taskId": {
        "description": "The id of a task.",
        "type": "string",
        "minLength": 1,
        "maxLength": 128,
        "pattern": "^[A-Za-z0-9._-]+$",
    },
    "key": {
        "description": "The name of an attachment within its task: any characters but control characters.",
        "type": "string",
        "minLength": 1,
        "maxLength": 100,
        "pattern": f"^[^{_CONTROL}]+$",
    },
    "keyPrefix": {
        "description": "What the keys begin with.",
        "type": "string",
        "maxLength": 100,
        "pattern": f"^[^{_CONTROL}]*$",
    },
    "type": {"description": "What an attachment holds.", "type": "string", "enum": list(TYPES)},
    "name": {
        "description": "The name of a worker or an instance.",
        "type": "string",
        "minLength": 1,
        "maxLength": 128,
        "pattern": f"^[^{_CONTROL}]+$",
    },
    "writers": {
        "description": "The instances that may change the task beside its owner, each named once.",
        "type": "array",
        "items": {"$ref": "#/components/schemas/name"},
        "maxItems": 100,
        "uniqueItems": True,
    },
    "taskText": {
        "description": "What is to be done: any characters but U+0000.",
        "type": "string",
        "minLength": 1,
        "maxLength": 500,
        "pattern": r"^[^\u0000]+$",
    },
    "priority": {"type": "integer", "minimum": 0, "maximum": 100},
    "metadata": {
        "description": "A JSON object, kept as the text it is; at most 128 levels deep.",
        "type": "object",
    },
    "json": {"description": "Any JSON value, null too, kept as the text it is; at most 128 levels deep."},
    "text": {
        "description": "Any text without U+0000, empty too; at most AFFIX_MAX_CONTENT_BYTES bytes.",
        "type": "string",
        "pattern": r"^[^\u0000]*$",
    },
    "url": {
        "description": "An absolute URI with a scheme; http and https with a host; no script. It is never fetched.",
        "type": "string",
        "maxLength": 8192,
        "pattern": r'^[A-Za-z][A-Za-z0-9+.-]*:[^\u0000-\u0020\u007f-\u00a0<>"\\^`{|}\u2028\u2029]+$',
        "not": {"pattern": _SCRIPTS},
    },
    "mimeType": {
        "description": "type/subtype, with parameters if need be.",
        "type": "string",
        "maxLength": 1024,
        "pattern": (f"^{_MIME_NAME}/{_MIME_NAME}(?:[ \\t]*;[ \\t]*{_MIME_ATOM}=(?:{_MIME_ATOM}|{_MIME_QUOTED}))*$"),
    },
    "size": {"description": "In bytes, of what is elsewhere.", "type": "integer", "minimum": 1, "maximum": INT64.high},
    "revision": {
        "description": "Grows with every write of its key; more than 2^53, so that not every client keeps it exactly.",
        "type": "integer",
        "minimum": 1,
        "maximum": INT64.high,
    },
    "moment": {
        "description": "A time with a zone (RFC 3339), such as 2025-01-19T11:00:00Z; later than now.",
        "type": "string",
        "pattern": f"^{RFC3339.pattern}$",
    },
    "time": {
        "description": "A time in UTC, to the millisecond.",
        "type": "string",
        "format": "date-time",
        "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?Z$",
    },
    "resumeToken": {"description": "From where a watch goes on, as an event told it.", "type": "string"},
    "subscriptionId": {"description": "A subscription of this connection.", "type": "string"},
}

# What carries the content of an attachment.
CONTENTS: Final[Mapping[str, Schema]] = {
    "value": {"$ref": "#/components/schemas/json"},
    "content": {"$ref": "#/components/schemas/text"},
    "url": {"$ref": "#/components/schemas/url"},
    "mimeType": {"$ref": "#/components/schemas/mimeType"},
    "size": {"$ref": "#/components/schemas/size"},
}


def ref(name: str) -> Schema:
    """Refer to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def none_of(names: Iterable[str]) -> Schema:
    """Allow an object that has no member of these names."""
    return {"not": {"anyOf": [{"required": [name]} for name in names]}}


def by_type() -> list[Schema]:
    """Return, for each type of attachment, what one has whose content is there."""
    return [
        {
            "properties": {"type": {"const": type_}},
            "required": [names[0]],
            **none_of(name for name in CONTENTS if name not in names),
        }
        for type_, names in CONTENT.items()
    ]
