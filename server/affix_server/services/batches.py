"""Several writes in one call, each of which succeeds or fails by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import structlog

from affix.v1 import attachments_pb2 as pb
from affix_server.errors import AffixError
from affix_server.status import wire_error

V = TypeVar("V")

_log = structlog.get_logger()


async def settled(
    method: str, requests: Sequence[object], writes: Sequence[Coroutine[Any, Any, V]]
) -> list[V | pb.BatchError]:
    """Run all writes at once; for each its answer, or how a call of `method` with its request would have failed.

    They share one round trip to each store, because each store gathers what is asked of it at the same time.
    """
    done = await asyncio.gather(*writes, return_exceptions=True)
    return [
        _error(method, request, one) if isinstance(one, BaseException) else one
        for request, one in zip(requests, done, strict=True)
    ]


def _error(method: str, request: object, fault: BaseException) -> pb.BatchError:
    if not isinstance(fault, Exception):
        raise fault
    if not isinstance(fault, AffixError):
        _log.error("internal_error", method=method, exc_info=fault)
    error = wire_error(fault, method, request)
    return pb.BatchError(code=error.code.value[0], message=error.message, details=error.packed())
