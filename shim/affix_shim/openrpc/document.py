"""The document: one row of words for each method, all else from where it is said already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from affix_shim.methods import METHODS, NEED_WEBSOCKET, SUBSCRIBE, UNSUBSCRIBE
from affix_shim.openrpc import answers, failures, parameters
from affix_shim.openrpc.values import VALUES, Schema, ref

OPENRPC: Final = "1.3.2"
_WEBSOCKET: Final = "websocket"
_NO_TASK: Final = (*failures.COMMON, "TASK_NOT_FOUND")
_NO_ATTACHMENT: Final = (*_NO_TASK, "ATTACHMENT_NOT_FOUND")


@dataclass(frozen=True, slots=True)
class Words:
    """What a method does, and the reasons for which it may fail."""

    summary: str
    reasons: tuple[str, ...] = failures.COMMON


WORDS: Final[Mapping[str, Words]] = {
    "task.create_attachment": Words("Store an attachment, in place of the one under its key.", (*_NO_TASK, "CONFLICT")),
    "task.get_attachment": Words("Read an attachment.", _NO_ATTACHMENT),
    "task.list_attachments": Words("List the attachments of a task, by creation, then key.", _NO_TASK),
    "task.delete_attachment": Words("Delete an attachment.", (*_NO_ATTACHMENT, "CONFLICT")),
    "task.get_attachments_batch": Words("Read several attachments.", _NO_ATTACHMENT),
    "task.create_attachments_batch": Words("Store several attachments, each by itself."),
    "task.delete_attachments_batch": Words("Delete several attachments, each by itself."),
    "task.create": Words("Register a task.", (*failures.COMMON, "CONFLICT")),
    "task.get": Words("Read a task.", _NO_TASK),
    "task.update": Words("Change a task; members of metadata are merged by name.", _NO_TASK),
    "task.list": Words("List tasks."),
    "task.complete": Words("Mark a task as completed; its result becomes the json attachment `result`.", _NO_TASK),
    "task.delete": Words("Delete a task and all its attachments.", _NO_TASK),
    SUBSCRIBE: Words(
        "Watch attachments: events come as notifications `task.subscription`.",
        (*failures.COMMON, "RESUME_TOKEN_EXPIRED", "SHUTTING_DOWN"),
    ),
    UNSUBSCRIBE: Words("End a subscription of this connection.", ("INVALID_PARAMS", "INTERNAL")),
}


def document(version: str) -> dict[str, object]:
    """Describe every method of the service `version`, as an OpenRPC document; the order is that of `METHODS`."""
    names = [*METHODS, *sorted(NEED_WEBSOCKET)]
    errors = {name: error for words in WORDS.values() for name, error in failures.errors(words.reasons).items()}
    return {
        "openrpc": OPENRPC,
        "info": {
            "title": "Affix",
            "version": version,
            "description": (
                "Typed attachments for tasks. Parameters are named; one that a method does not know is refused. "
                "Integers are written without fraction or exponent. Methods are called by POST /rpc, alone or in "
                "batches, or on the WebSocket at /ws, those with the tag websocket there alone. x-params is the schema "
                "of all parameters of a method together, with what each demands of the others; the data of an error "
                "is the schema of its data."
            ),
        },
        "methods": [_method(name) for name in names],
        "components": {
            "schemas": {
                **VALUES,
                **parameters.PARTS,
                **answers.PARTS,
                "error": failures.error_schema(),
                **{_params_name(name): _parameters(name) for name in names},
            },
            "errors": errors,
            "tags": {_WEBSOCKET: {"name": _WEBSOCKET, "description": "Needs the WebSocket at /ws."}},
        },
    }


def _method(name: str) -> dict[str, object]:
    words = WORDS[name]
    described: dict[str, object] = {
        "name": name,
        "summary": words.summary,
        "paramStructure": "by-name",
        "params": _content_descriptors(_parameters(name)),
        "result": {"name": "result", "schema": answers.ANSWERS[name]},
        "errors": [{"$ref": f"#/components/errors/{error}"} for error in failures.errors(words.reasons)],
        "x-params": ref(_params_name(name)),
    }
    if name in NEED_WEBSOCKET:
        described["tags"] = [{"$ref": f"#/components/tags/{_WEBSOCKET}"}]
    if name == SUBSCRIBE:
        described["x-notification"] = {"name": "task.subscription", "params": ref("subscription")}
    return described


def _params_name(method: str) -> str:
    return f"params.{method}"


def _parameters(method: str) -> Schema:
    """Return the schema of all parameters of a method together."""
    schema = parameters.PARAMETERS[method]
    if method not in METHODS or not METHODS[method].has_revisions:
        return schema
    return {**schema, "properties": {**cast("Schema", schema["properties"]), **parameters.WITH_REVISION}}


def _content_descriptors(schema: Schema) -> list[dict[str, object]]:
    """Return the parameters one by one; OpenRPC has those first that must be there."""
    required = cast("list[str]", schema["required"])
    properties = cast("dict[str, Schema]", schema["properties"])
    one_by_one = [{"name": name, "required": name in required, "schema": each} for name, each in properties.items()]
    return sorted(one_by_one, key=lambda one: not one["required"])
