"""What every wire can do, in one neutral form: JSON-RPC's names, JSON as its exact text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

INVALID_PARAMS = -32602
METHOD_NOT_FOUND = -32601
STORAGE_ERROR = -32500
CONFLICT = -32004

Result = dict[str, Any]
Params = Mapping[str, Any]


class RawJson(str):
    """The text of a JSON value, sent and received as it is."""

    __slots__ = ()


class CallError(Exception):
    """A call was refused: the JSON-RPC error, whichever wire it came over."""

    def __init__(self, code: int, message: str, data: Mapping[str, Any]) -> None:
        super().__init__(code, message, dict(data))
        self.code = code
        self.message = message
        self.data = dict(data)

    @property
    def reason(self) -> str | None:
        reason: str | None = self.data.get("reason")
        return reason

    @property
    def fields(self) -> list[str]:
        """The fields named by the violations of a bad parameter."""
        return [violation["field"] for violation in self.data.get("violations", [])]


class Wire(Protocol):
    """One way to talk to the service.

    `value`, `metadata` and `result` travel as RawJson in both directions;
    given as anything else they are printed as JSON first.
    """

    name: str

    async def call(self, method: str, params: Params, *, instance: str | None = None) -> Result:
        """Call a method as `instance` (x-instance-id) and return its result. Raises CallError."""
        ...
