"""Several writes in one call, each of which succeeds or fails by itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from affix.v1 import attachments_pb2 as pb
from affix_server.errors import AffixError
from affix_server.status import wire_error

V = TypeVar("V")
R = TypeVar("R")
W = TypeVar("W")

_log = structlog.get_logger()


def results(
    method: str,
    requests: Sequence[object],
    done: Sequence[V | Exception],
    *,
    encode: Callable[[V], R],
    fail: Callable[[pb.BatchError], R],
) -> list[R]:
    """Encode for each write what it left, or how a call of `method` with its request alone would have failed."""
    return [
        fail(_error(method, request, one)) if isinstance(one, Exception) else encode(one)
        for request, one in zip(requests, done, strict=True)
    ]


async def each_permitted(
    writes: Sequence[W],
    refusals: Sequence[AffixError | None],
    write: Callable[[Sequence[W]], Awaitable[Sequence[V | Exception]]],
) -> list[V | Exception]:
    """Do the writes that nothing refuses; what came of each, in order."""
    permitted = [one for one, refusal in zip(writes, refusals, strict=True) if refusal is None]
    done = iter(await write(permitted) if permitted else ())
    return [next(done) if refusal is None else refusal for refusal in refusals]


def _error(method: str, request: object, fault: Exception) -> pb.BatchError:
    if not isinstance(fault, AffixError):
        _log.error("internal_error", method=method, exc_info=fault)
    error = wire_error(fault, method, request)
    return pb.BatchError(code=error.code.value[0], message=error.message, details=error.packed())
