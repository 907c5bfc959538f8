"""Refuses requests that do not decode with INVALID_ARGUMENT; grpc.aio alone answers UNKNOWN with a class name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError, Message

from affix_server.calls import Behavior, CallContext, Method
from affix_server.errors import InvalidParamsError, Violation

# A smaller message has few enough fields to make them all.
_SMALL_BYTES = 64 * 1024
# More than any message of ours has, the items of a batch included.
_MOST_FIELDS = 1000
# Protobuf's wire types.
_VARINT, _LENGTH, _FIXED = 0, 2, {1: 8, 5: 4}


@dataclass(frozen=True, slots=True)
class Undecodable:
    """Stands in for a request whose bytes are not the message they should be; says why, as a predicate."""

    why: str = "is not a protobuf message of the type this method takes"


def tolerant_deserializer(message: type[Message]) -> Callable[[bytes], Message | Undecodable]:
    """Return a deserializer that never raises, so that the refusal goes the way of every other error.

    Millions of empty items, which cost two bytes each to send, are refused before they are made.
    """

    def deserialize(data: bytes) -> Message | Undecodable:
        if len(data) > _SMALL_BYTES and not _has_few_fields(data):
            return Undecodable(f"must have at most {_MOST_FIELDS} fields and items")
        try:
            return message.FromString(data)
        except DecodeError:
            return Undecodable()

    return deserialize


def refuse_undecodable(_method: Method, behavior: Behavior) -> Behavior:
    """Raise InvalidParamsError for what `tolerant_deserializer` could not decode."""

    # No coroutine of its own, which every call would pay for.
    def refusing(request: Any, context: CallContext) -> Awaitable[Any]:
        if isinstance(request, Undecodable):
            raise InvalidParamsError(Violation("request", request.why))
        return behavior(request, context)

    return refusing


def _has_few_fields(data: bytes) -> bool:
    """Tell whether the outermost fields of a message are few; what is none is left to be found out."""
    at, end = 0, len(data)
    for _ in range(_MOST_FIELDS):
        if at >= end:
            return True
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            _, at = _varint(data, at)
        elif kind == _LENGTH:
            length, at = _varint(data, at)
            at += length
        elif kind in _FIXED:
            at += _FIXED[kind]
        else:
            return False  # a group, or nonsense: no message of ours
    return at >= end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a number and say where it ends; where there is none, protobuf will refuse it."""
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the bit that says there is more
            break
    return value, at
