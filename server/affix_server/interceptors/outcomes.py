"""The outermost interceptor: gives a call its id, turns exceptions into statuses, and sees how the call ended.

What is counted, logged and traced of a call is all told here, where its one status is known.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, NoReturn

import grpc
import structlog

from affix_server import request_ids
from affix_server.calls import Behavior, CallContext, Method, StreamBehavior
from affix_server.errors import AffixError, InvalidParamsError, Violation
from affix_server.interceptors.metrics import SERVER_STREAM, UNARY, CallMetrics, MethodCalls
from affix_server.interceptors.request_log import RequestLog
from affix_server.request_ids import REQUEST_ID, RequestIds, current
from affix_server.status import WireError, wire_error

_CANCELLED = "CANCELLED"
# Raised by what has already said how the call ends.
_ENDED = (grpc.aio.AbortError, grpc.aio.AioRpcError)

_log = structlog.get_logger()


class Outcomes:
    """Ends each call with the status that the table of status.py gives for what it raised, and tells of it."""

    def __init__(self, metrics: CallMetrics, log: RequestLog) -> None:
        """Count and log the calls there."""
        self._metrics = metrics
        self._request_log = log
        self._ids = RequestIds()

    def calls(self, method: Method, behavior: Behavior) -> Behavior:
        """Wrap a method that answers once."""
        calls, log = self._metrics.of(method, UNARY), self._request_log

        async def seen(request: Any, context: CallContext) -> Any:
            calls.started += 1
            begun = time.perf_counter()
            given, request_id = self._begin(context)
            token = current.set(request_id)
            try:
                if given != request_id:
                    _check(given)
                response = await behavior(request, context)
            except asyncio.CancelledError:
                calls.failed(_CANCELLED)
                log.failed(method, context, request_id, time.perf_counter() - begun, _CANCELLED)
                raise
            except _ENDED:
                raise
            except Exception as fault:  # noqa: BLE001 - everything else is for the table to judge
                error = _judged(fault, method, request)
            else:
                seconds = time.perf_counter() - begun
                calls.ok += 1
                calls.timings.observe(seconds)
                if seconds >= log.from_seconds:
                    log.succeeded(method, context, request_id, seconds)
                return response
            finally:
                current.reset(token)
            calls.timings.observe(time.perf_counter() - begun)
            # Outside the handler, so that no traceback of the original travels along.
            return await self._fail(calls, method, context, request_id, begun, error)

        return seen

    def streams(self, method: Method, behavior: StreamBehavior) -> StreamBehavior:
        """Do the same for a stream, wherever in it something is raised; one that nobody wants any more did not fail."""
        calls, log = self._metrics.of(method, SERVER_STREAM), self._request_log

        async def seen(request: Any, context: CallContext) -> AsyncGenerator[Any]:
            calls.started += 1
            begun = time.perf_counter()
            given, request_id = self._begin(context)
            # Not reset: whoever takes the last response may be another task than whoever took the first.
            current.set(request_id)
            try:
                _check(given)
                async with aclosing(behavior(request, context)) as responses:
                    async for response in responses:
                        yield response
            except (asyncio.CancelledError, GeneratorExit):
                calls.failed(_CANCELLED)
                log.stream_left(method, context, request_id, time.perf_counter() - begun)
                raise
            except _ENDED:
                raise
            except Exception as fault:  # noqa: BLE001 - as above
                error = _judged(fault, method, request)
            else:
                calls.ok += 1
                log.stream_left(method, context, request_id, time.perf_counter() - begun)
                return
            await self._fail(calls, method, context, request_id, begun, error)

        return seen

    def _begin(self, context: CallContext) -> tuple[str | None, str]:
        """Return the id that was given, and the one that holds; the caller is told of it with the answer."""
        given = request_ids.given(context)
        request_id = given if given is not None and request_ids.is_valid(given) else self._ids.new()
        context.set_trailing_metadata(((REQUEST_ID, request_id),))
        return given, request_id

    async def _fail(
        self, calls: MethodCalls, method: Method, context: CallContext, request_id: str, begun: float, error: WireError
    ) -> NoReturn:
        calls.failed(error.code.name)
        seconds = time.perf_counter() - begun
        self._request_log.failed(method, context, request_id, seconds, error.code.name, error.reason)
        await context.abort(error.code, error.message, (*error.trailers(), (REQUEST_ID, request_id)))


def _check(given: str | None) -> None:
    if given is not None and not request_ids.is_valid(given):
        raise InvalidParamsError(Violation(REQUEST_ID, request_ids.RULE))


def _judged(fault: Exception, method: Method, request: Any) -> WireError:
    if not isinstance(fault, AffixError):
        _log.error("internal_error", method=method.path, exc_info=fault)
    return wire_error(fault, method.name, request)
