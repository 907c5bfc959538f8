"""One line for a call, of those that are wanted: all, those that failed or were slow, or none."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import structlog

from affix_server.calls import CallContext, Method
from affix_server.interceptors.rate_limit import caller

Wanted = Literal["all", "failed", "off"]

# What is no fault of the caller's, and so for the operator to look into.
_OURS = frozenset({"DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE"})

_log = structlog.get_logger()


class RequestLog:
    """Writes the lines. Never anything of what a request or an answer holds."""

    def __init__(self, wanted: Wanted, slow_seconds: float, *, name_of: Callable[[CallContext], str] = caller) -> None:
        """Want these calls; `slow_seconds` is what makes a call slow, `name_of` says who calls."""
        self._name_of = name_of
        self._failures = wanted != "off"
        self._slow_seconds = slow_seconds
        # A call that succeeded is logged if it took so long: one comparison is all that the others pay.
        self.from_seconds = {"all": 0.0, "failed": slow_seconds, "off": math.inf}[wanted]

    def succeeded(self, method: Method, context: CallContext, request_id: str, seconds: float) -> None:
        """Write of a call that was answered and took `from_seconds` or more."""
        line = self._line(method, context, request_id, seconds, "OK")
        if seconds >= self._slow_seconds:
            _log.warning("call", **line)
        else:
            _log.info("call", **line)

    def failed(
        self,
        method: Method,
        context: CallContext,
        request_id: str,
        seconds: float,
        status: str,
        reason: str | None = None,
    ) -> None:
        """Write of a call that ended with another status than OK."""
        if not self._failures:
            return
        line = self._line(method, context, request_id, seconds, status)
        if reason is not None:
            line["reason"] = reason
        if status in _OURS:
            _log.warning("call", **line)
        else:
            _log.info("call", **line)

    def stream_left(self, method: Method, context: CallContext, request_id: str, seconds: float) -> None:
        """Write of a stream that ended because nobody wanted more of it, which is neither a failure nor slow."""
        if self.from_seconds == 0:
            _log.info("call", **self._line(method, context, request_id, seconds, "CANCELLED"))

    def _line(
        self, method: Method, context: CallContext, request_id: str, seconds: float, status: str
    ) -> dict[str, Any]:
        return {
            "request_id": request_id,
            "method": method.path,
            "caller": self._name_of(context),
            "status": status,
            "ms": round(seconds * 1000, 3),
        }
