"""With what a method may fail: its errors by code, each code with the reasons it may have there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from affix_shim.errors import STORAGE, TABLE
from affix_shim.jsonrpc import INTERNAL_ERROR, INVALID_PARAMS
from affix_shim.openrpc.values import COUNT, Schema

# Not as a string beside another: what looks for passwords would take it for one.
_LOST_PLACE: Final = "RESUME_TOKEN_EXPIRED"
# What makes each reason, and what error.data has for it beside `reason`.
_WHEN: Final[Mapping[str, str]] = {
    "INVALID_PARAMS": "parameters break rules, all of which are named",
    "TASK_NOT_FOUND": "there is no such task",
    "ATTACHMENT_NOT_FOUND": "the task has nothing under this key",
    "CONFLICT": "what is there does not allow it",
    "STORAGE_UNAVAILABLE": "a store failed",
    "DEADLINE_EXCEEDED": "it took too long",
    "CIRCUIT_OPEN": "a store is left alone for a while",
    "RATE_LIMITED": "the caller has called too often",
    "LIMIT_EXCEEDED": "the server does as much as it may",
    "UNAUTHENTICATED": "there are no valid credentials",
    "PERMISSION_DENIED": "the caller may not do this",
    _LOST_PLACE: "events may be missing",
    "SLOW_WATCHER": "the watcher takes its events too slowly",
    "SHUTTING_DOWN": "the server is stopping",
    "INTERNAL": "a fault of the service",
}
_VIOLATIONS: Final[Schema] = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "properties": {"field": {"type": "string"}, "description": {"type": "string"}},
        "required": ["field", "description"],
    },
}
_DATA: Final[Mapping[str, Mapping[str, Schema]]] = {
    "INVALID_PARAMS": {"violations": _VIOLATIONS},
    "CONFLICT": {"currentRevision": COUNT},
    "RATE_LIMITED": {"retryAfterMs": COUNT},
    "CIRCUIT_OPEN": {"retryAfterMs": COUNT},
    "LIMIT_EXCEEDED": {"limit": COUNT, "actual": COUNT},
}
_ABOUT: Final[Mapping[str, Schema]] = {"taskId": {"type": "string"}, "key": {"type": "string"}}

CODES: Final[Mapping[str, int]] = {
    "INVALID_PARAMS": INVALID_PARAMS,
    **{reason: row.code for reason, row in TABLE.items()},
    "INTERNAL": INTERNAL_ERROR,
}
COMMON: Final = (
    *("INVALID_PARAMS", "STORAGE_UNAVAILABLE", "DEADLINE_EXCEEDED", "CIRCUIT_OPEN", "RATE_LIMITED"),
    *("LIMIT_EXCEEDED", "UNAUTHENTICATED", "PERMISSION_DENIED", "INTERNAL"),
)


def errors(reasons: Iterable[str]) -> dict[str, Schema]:
    """Return the error objects for these reasons, by names for them: a code is one error, whatever its reasons."""
    by_code: dict[int, list[str]] = {}
    for reason in reasons:
        by_code.setdefault(CODES[reason], []).append(reason)
    return {
        "_or_".join(together): {
            "code": code,
            "message": "; ".join(_WHEN[reason] for reason in together),
            "data": _data(code, together),
        }
        for code, together in by_code.items()
    }


def error_schema() -> Schema:
    """Return the schema of an error that is told within a result or a notification."""
    every = errors(CODES)
    return {
        "type": "object",
        "properties": {
            "code": {"type": "integer"},
            "message": {"type": "string"},
            "data": {"type": "object"},
        },
        "required": ["code", "message", "data"],
        "oneOf": [{"properties": {"code": {"const": one["code"]}, "data": one["data"]}} for one in every.values()],
    }


def _data(code: int, reasons: list[str]) -> Schema:
    """Return the schema of `error.data`."""
    said: Schema = {"type": "string", "enum": reasons}
    if code == STORAGE:
        said = {"description": "The cause in words, such as Database connection timeout.", "type": "string"}
    more = {name: schema for reason in reasons for name, schema in _DATA.get(reason, {}).items()}
    return {"type": "object", "properties": {**_ABOUT, **more, "reason": said}, "required": ["reason"]}
