"""Refuses requests that do not decode with INVALID_ARGUMENT; grpc.aio alone answers UNKNOWN with a class name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError, Message

from affix_server.calls import Behavior, CallContext, Method
from affix_server.errors import InvalidParamsError, Violation


class Undecodable:
    """Stands in for a request whose bytes are not the message they should be."""


def tolerant_deserializer(message: type[Message]) -> Callable[[bytes], Message | Undecodable]:
    """Return a deserializer that never raises, so that the refusal goes the way of every other error."""

    def deserialize(data: bytes) -> Message | Undecodable:
        try:
            return message.FromString(data)
        except DecodeError:
            return Undecodable()

    return deserialize


def refuse_undecodable(_method: Method, behavior: Behavior) -> Behavior:
    """Raise InvalidParamsError for what `tolerant_deserializer` could not decode."""

    async def refusing(request: Any, context: CallContext) -> Any:
        if isinstance(request, Undecodable):
            raise InvalidParamsError(Violation("request", "is not a protobuf message of the type this method takes"))
        return await behavior(request, context)

    return refusing
