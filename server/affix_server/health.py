"""grpc.health.v1, computed when asked: what the service can do now, and which store is out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from affix_server.calls import CallContext

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
_WATCH_SECONDS = 1.0

# Tells whether a store can be used, within a second.
Usable = Callable[[], Awaitable[bool]]


class HealthServicer:
    """The methods of grpc.health.v1.Health.

    The server (`""`) and its services serve while one store or more can be
    used, and not once the server drains. A store serves while it can be used.
    """

    def __init__(self, services: Sequence[str], stores: Mapping[str, Usable]) -> None:
        """Speak for services by full name, and for stores by name, each with what tells whether it can be used."""
        self._services = frozenset(("", *services))
        self._stores = stores
        self._draining = asyncio.Event()

    def drain(self) -> None:
        """Say from now on that nothing is served, and end all watches."""
        self._draining.set()

    async def Check(  # noqa: N802 - gRPC's name
        self, request: health_pb2.HealthCheckRequest, context: CallContext
    ) -> health_pb2.HealthCheckResponse:
        """Tell how a service or store is; NOT_FOUND for any other name."""
        status = await self._status(request.service)
        if status == _UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return health_pb2.HealthCheckResponse(status=status)

    async def List(self, _request: object, _context: CallContext) -> Message:  # noqa: N802
        """Tell how everything is that `Check` knows."""
        names = (*self._services, *self._stores)
        statuses = {name: health_pb2.HealthCheckResponse(status=await self._status(name)) for name in names}
        listed: Message = health_pb2.HealthListResponse(statuses=statuses)  # type: ignore[attr-defined] # not in its stubs
        return listed

    async def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, _context: object
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Tell how it is, and again within a second of each change, until the server drains."""
        told = None
        while True:
            last = self._draining.is_set()
            status = await self._status(request.service)
            if status != told:
                yield health_pb2.HealthCheckResponse(status=status)
                told = status
            if last:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._draining.wait(), _WATCH_SECONDS)

    async def _status(self, name: str) -> int:
        if name in self._stores:
            serving = await self._stores[name]()
        elif name in self._services:
            serving = not self._draining.is_set() and any([await usable() for usable in self._stores.values()])
        else:
            return _UNKNOWN
        return _SERVING if serving else _NOT_SERVING
