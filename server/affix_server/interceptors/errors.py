"""Turns exceptions into statuses; the outermost interceptor but for metrics' count."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import structlog

from affix_server.calls import Behavior, CallContext, Method
from affix_server.errors import AffixError
from affix_server.status import wire_error

_log = structlog.get_logger()


def map_errors(method: Method, behavior: Behavior) -> Behavior:
    """End a call that raises with the status that the table of status.py gives for it."""

    async def mapped(request: Any, context: CallContext) -> Any:
        try:
            return await behavior(request, context)
        except (asyncio.CancelledError, grpc.aio.AbortError, grpc.aio.AioRpcError):
            raise
        except Exception as fault:  # noqa: BLE001 - everything else is for the table to judge
            if not isinstance(fault, AffixError):
                _log.error("internal_error", method=method.path, exc_info=fault)
            error = wire_error(fault, method.name, request)
        # Outside the handler, so that no traceback of the original travels along.
        return await context.abort(error.code, error.message, error.trailers())

    return mapped
