"""Take the real stores away, and give them back."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import psutil

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey

_PATIENCE_SECONDS = 20.0


@asynccontextmanager
async def frozen(store: EmbeddedPostgres | EmbeddedValkey) -> AsyncIterator[None]:
    """Stop all processes of a store (SIGSTOP) for the length of the block."""
    processes = [psutil.Process(store.pid), *psutil.Process(store.pid).children(recursive=True)]
    for process in processes:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process.pid, signal.SIGCONT)


@asynccontextmanager
async def dead(store: EmbeddedPostgres | EmbeddedValkey) -> AsyncIterator[None]:
    """Kill all processes of a store (SIGKILL) and start it again at the end of the block."""
    children = psutil.Process(store.pid).children(recursive=True)
    store.kill()
    for child in children:  # they would end by themselves, but not at once
        with suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(children, timeout=_PATIENCE_SECONDS)
    try:
        yield
    finally:
        await store.start()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something has come true."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.02)
