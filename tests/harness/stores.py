"""What the tests see when they look into the stores themselves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from redis.asyncio import Redis

Flush = Callable[[], Awaitable[None]]


async def keys_of(redis: Redis, task: str) -> list[str]:
    """List what Redis holds of a task, in a fixed order."""
    return sorted([key async for key in redis.scan_iter(f"cb:task:{task}*", count=1000)])
