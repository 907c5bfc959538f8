"""The registry behind `/metrics`, one per process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)


def process_registry() -> CollectorRegistry:
    """Make a registry that reports on this process: memory, files, CPU, garbage collection, Python version."""
    # A time of creation beside every counter would double the text, and nobody asks for it.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry


# Gives, while it is entered, what renders the metrics of a registry, and whatever else is to be told with them.
Telling = Callable[[CollectorRegistry], AbstractAsyncContextManager[Callable[[], Awaitable[bytes]]]]


@asynccontextmanager
async def alone(registry: CollectorRegistry) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
    """Give what renders this process' metrics, in Prometheus' text format."""

    async def text() -> bytes:
        return generate_latest(registry)

    yield text
