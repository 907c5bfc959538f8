"""The limits while Redis is frozen or gone, and once it is back."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import grpc
import pytest

from tests.limits.site import LIMIT, OPERATION_SECONDS, Site, grpc_call
from tests.limits.test_rate_limits import REFUSED


@asynccontextmanager
async def frozen(site: Site) -> AsyncIterator[None]:
    os.kill(site.valkey.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(site.valkey.pid, signal.SIGCONT)


@asynccontextmanager
async def killed(site: Site) -> AsyncIterator[None]:
    site.valkey.kill()
    try:
        yield
    finally:
        await site.valkey.start()


async def calls(channel: grpc.aio.Channel, instance: str, count: int) -> list[bool]:
    """Call one after the other; tell of each whether it was refused."""
    found = []
    for _ in range(count):
        began = time.monotonic()
        found.append(await grpc_call(channel, metadata={"x-instance-id": instance}) == REFUSED)
        assert time.monotonic() - began < OPERATION_SECONDS / 2
    return found


async def count_together(site: Site) -> bool:
    """Tell whether both servers count in one window, for a caller of its own."""
    instance = secrets.token_hex(8)
    first, second = [await calls(channel, instance, LIMIT) for channel in site.channels]
    return not any(first) and all(second)


@pytest.mark.parametrize("away", [frozen, killed])
async def test_each_process_counts_by_itself_while_redis_is_away(
    site: Site, instance: str, away: Callable[[Site], AbstractAsyncContextManager[None]]
) -> None:
    assert await count_together(site)
    async with away(site):
        for channel in site.channels:
            assert await calls(channel, instance, LIMIT + 1) == [False] * LIMIT + [True]
        began = time.monotonic()
        assert all(await calls(site.channels[0], instance, 40))
        # It is asked once a second, for a tenth of an operation's time, not by every call.
        assert time.monotonic() - began < OPERATION_SECONDS
        assert "rate_limits_per_process" in site.servers[0].command.output
    async with asyncio.timeout(10):
        while not await count_together(site):
            await asyncio.sleep(0.2)
    assert "rate_limits_shared" in site.servers[0].command.output
