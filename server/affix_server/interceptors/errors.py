"""Turns exceptions into statuses; the outermost interceptor but for metrics' count."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc
import structlog

from affix_server.calls import Behavior, CallContext, Method, StreamBehavior
from affix_server.errors import AffixError
from affix_server.status import WireError, wire_error

_log = structlog.get_logger()


def map_errors(method: Method, behavior: Behavior) -> Behavior:
    """End a call that raises with the status that the table of status.py gives for it."""

    async def mapped(request: Any, context: CallContext) -> Any:
        try:
            return await behavior(request, context)
        except (asyncio.CancelledError, grpc.aio.AbortError, grpc.aio.AioRpcError):
            raise
        except Exception as fault:  # noqa: BLE001 - everything else is for the table to judge
            error = _judged(fault, method, request)
        # Outside the handler, so that no traceback of the original travels along.
        return await context.abort(error.code, error.message, error.trailers())

    return mapped


def map_stream_errors(method: Method, behavior: StreamBehavior) -> StreamBehavior:
    """Do the same for a stream, wherever in it something is raised."""

    async def mapped(request: Any, context: CallContext) -> AsyncGenerator[Any]:
        try:
            async with aclosing(behavior(request, context)) as responses:
                async for response in responses:
                    yield response
        except (asyncio.CancelledError, GeneratorExit, grpc.aio.AbortError, grpc.aio.AioRpcError):
            raise
        except Exception as fault:  # noqa: BLE001 - as above
            error = _judged(fault, method, request)
        else:
            return
        await context.abort(error.code, error.message, error.trailers())

    return mapped


def _judged(fault: Exception, method: Method, request: Any) -> WireError:
    if not isinstance(fault, AffixError):
        _log.error("internal_error", method=method.path, exc_info=fault)
    return wire_error(fault, method.name, request)
