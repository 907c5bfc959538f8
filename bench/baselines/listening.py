"""What every baseline shares: it runs under uvloop, says where it listens, and ends at SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import uvloop
from aiohttp import web

READY = "listening on "


def run(opening: Callable[[], AbstractAsyncContextManager[str]]) -> None:
    """Serve what `opening` opens until SIGTERM or SIGINT; the address it gives is printed."""

    async def serve() -> None:
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        async with opening() as address:
            sys.stdout.write(f"{READY}{address}\n")
            sys.stdout.flush()
            await stopped.wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


@asynccontextmanager
async def http(app: web.Application) -> AsyncIterator[str]:
    """Serve an application on a free port of loopback."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        host, port = runner.addresses[0][:2]
        yield f"{host}:{port}"
    finally:
        await runner.cleanup()
