"""What the mappings of all messages share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from affix.v1 import attachments_pb2 as a
from tests.harness.json_text import dump
from tests.harness.wire import Params, Result

M = TypeVar("M", bound=Message)


@dataclass(frozen=True)
class Mapping:
    """How one method travels over gRPC."""

    service: str
    rpc: str
    request: Callable[[Params], Message]
    result: Callable[[Any, Params], Result]


def fill(message: M, params: Params, names: dict[str, str]) -> M:
    """Set the fields that `params` give; `names` maps neutral names to protobuf's."""
    for name, field in names.items():
        if name in params:
            setattr(message, field, params[name])
    return message


def word(enum: Any, number: int, prefix: str) -> str:
    name: str = enum.Name(number)
    return name.removeprefix(prefix).lower()


def time(stamp: Timestamp) -> str:
    return stamp.ToJsonString()


def json(text: Any) -> a.JsonContent:
    return a.JsonContent(value=dump(text))


def durability(message: Any) -> Result:
    """Nothing for a committed write, as in JSON-RPC; whatever else is said, in words."""
    if message.durability == a.DURABILITY_COMMITTED:
        return {}
    return {"durability": word(a.Durability, message.durability, "DURABILITY_")}


def named(message: Callable[[], M], names: dict[str, str]) -> Callable[[Params], M]:
    return lambda params: fill(message(), params, names)
