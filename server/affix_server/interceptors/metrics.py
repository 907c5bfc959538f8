"""Counts and times calls under the names that gRPC's own dashboards expect."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from affix_server.calls import Behavior, CallContext, Interceptor, Method
from affix_server.status import wire_error

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def count_calls(registry: CollectorRegistry) -> Interceptor:
    """Make the interceptor; its metrics go to `registry`."""
    handled = Counter(
        "grpc_server_handled_total",
        "Calls completed, by method and status",
        ["grpc_service", "grpc_method", "grpc_code"],
        registry=registry,
    )
    seconds = Histogram(
        "grpc_server_handling_seconds",
        "Time from the request to the answer",
        ["grpc_service", "grpc_method"],
        buckets=_BUCKETS,
        registry=registry,
    )

    def intercept(method: Method, behavior: Behavior) -> Behavior:
        labels = {"grpc_service": method.service, "grpc_method": method.name}
        timer, ok = seconds.labels(**labels), handled.labels(**labels, grpc_code="OK")

        async def counted(request: Any, context: CallContext) -> Any:
            begun = time.perf_counter()
            try:
                response = await behavior(request, context)
            except asyncio.CancelledError:
                handled.labels(**labels, grpc_code="CANCELLED").inc()
                raise
            except Exception as fault:
                handled.labels(**labels, grpc_code=wire_error(fault, method.name, request).code.name).inc()
                raise
            finally:
                timer.observe(time.perf_counter() - begun)
            ok.inc()
            return response

        return counted

    return intercept
