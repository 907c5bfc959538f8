"""The registry behind `/metrics`, one per process."""

from __future__ import annotations

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


async def text(registry: CollectorRegistry) -> bytes:
    """Render the registry in Prometheus' text format."""
    return generate_latest(registry)
