"""Counts and times calls under the names that gRPC's own dashboards expect."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from affix_server.calls import Behavior, CallContext, Method, StreamBehavior
from affix_server.status import wire_error

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class CallMetrics:
    """Two interceptors, one for calls and one for streams; a stream is not timed, it lasts as long as it is wanted."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Put the metrics into `registry`."""
        self._handled = Counter(
            "grpc_server_handled_total",
            "Calls completed, by method and status",
            ["grpc_service", "grpc_method", "grpc_code"],
            registry=registry,
        )
        self._seconds = Histogram(
            "grpc_server_handling_seconds",
            "Time from the request to the answer",
            ["grpc_service", "grpc_method"],
            buckets=_BUCKETS,
            registry=registry,
        )

    def count_calls(self, method: Method, behavior: Behavior) -> Behavior:
        """Count and time each call."""
        labels = {"grpc_service": method.service, "grpc_method": method.name}
        timer, ok = self._seconds.labels(**labels), self._handled.labels(**labels, grpc_code="OK")

        async def counted(request: Any, context: CallContext) -> Any:
            begun = time.perf_counter()
            try:
                with self._faults_counted(method, request):
                    response = await behavior(request, context)
            finally:
                timer.observe(time.perf_counter() - begun)
            ok.inc()
            return response

        return counted

    def count_streams(self, method: Method, behavior: StreamBehavior) -> StreamBehavior:
        """Count each stream when it ends."""
        ok = self._handled.labels(grpc_service=method.service, grpc_method=method.name, grpc_code="OK")

        async def counted(request: Any, context: CallContext) -> AsyncGenerator[Any]:
            with self._faults_counted(method, request):
                async with aclosing(behavior(request, context)) as responses:
                    async for response in responses:
                        yield response
            ok.inc()

        return counted

    @contextmanager
    def _faults_counted(self, method: Method, request: Any) -> Iterator[None]:
        labels = {"grpc_service": method.service, "grpc_method": method.name}
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            self._handled.labels(**labels, grpc_code="CANCELLED").inc()
            raise
        except Exception as fault:
            self._handled.labels(**labels, grpc_code=wire_error(fault, method.name, request).code.name).inc()
            raise
