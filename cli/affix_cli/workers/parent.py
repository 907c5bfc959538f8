"""The parent of the workers: starts them, replaces one that dies, stops them together."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from affix_cli.addresses import Addresses
from affix_cli.failures import Failure
from affix_cli.workers import READY
from affix_cli.workers.ports import held
from affix_server.config import Settings

# Before a worker that died is replaced; doubled each time, until one has lived for long enough.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 10.0
_LONG_ENOUGH_SECONDS = 60.0
# After its grace period a worker still answers what is written and closes its stores.
_CLOSING_SECONDS = 10.0

_log = structlog.get_logger()


@asynccontextmanager
async def workers_at(settings: Settings) -> AsyncIterator[Addresses]:
    """Run `settings.workers` processes that serve the same two ports; at the end each stops as one alone would.

    One that dies is replaced. Raises Failure when one cannot start at the beginning. Cancelled, it kills them.
    """
    grace = settings.drain_pause_seconds + settings.drain_seconds + _CLOSING_SECONDS
    with (
        held(settings.grpc_listen, "AFFIX_GRPC_LISTEN") as grpc,
        held(settings.http_listen, "AFFIX_HTTP_LISTEN") as http,
        tempfile.TemporaryDirectory(prefix="affix-") as folder,
    ):
        environment = _environment(settings, Addresses(grpc, http))
        first, *others = [_Worker(number, environment, Path(folder)) for number in range(settings.workers)]
        crew, keeping = [first, *others], list[asyncio.Task[None]]()
        try:
            await first.start()  # what is wrong with the settings is said once
            await asyncio.gather(*(worker.start() for worker in others))
            keeping = [asyncio.create_task(worker.keep()) for worker in crew]
            yield Addresses(grpc, http)
            await _cancelled(keeping)
            await asyncio.gather(*(worker.stop(grace) for worker in crew))
        finally:
            await _cancelled(keeping)
            await asyncio.gather(*(worker.kill() for worker in crew))


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _environment(settings: Settings, addresses: Addresses) -> dict[str, str]:
    own = {
        "AFFIX_GRPC_LISTEN": addresses.grpc,
        "AFFIX_HTTP_LISTEN": addresses.http,
        "AFFIX_POSTGRES_DSN": settings.postgres_dsn or "",
        "AFFIX_REDIS_URL": settings.redis_url or "",
        "AFFIX_WORKERS": str(settings.workers),
    }
    return {**os.environ, **own}


class _Worker:
    """One place among the workers, and the process that has it."""

    def __init__(self, number: int, environment: Mapping[str, str], folder: Path) -> None:
        self._number = number
        self._environment = environment
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start a process and wait until it serves. Raises Failure when it ends instead; it has said why then."""
        process = self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "affix_cli.workers.worker", str(self._number), str(self._folder)),
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,  # ends with this process, however that ends
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the parent, which passes on what it means
        )
        assert process.stdout is not None  # noqa: S101 - asked for above
        if await process.stdout.readline() != READY:
            code = await process.wait()
            raise Failure("" if code == 2 else f"a server process ended with {code} before it was ready")  # noqa: PLR2004

    async def keep(self) -> None:
        """Replace the process whenever it dies, at once at first and then with growing pauses."""
        loop, pause, begun = asyncio.get_running_loop(), 0.0, asyncio.get_running_loop().time()
        while True:
            code = None if self._process is None else await self._process.wait()
            if loop.time() - begun >= _LONG_ENOUGH_SECONDS:
                pause = 0.0
            _log.error("worker_died", worker=self._number, code=code)
            await asyncio.sleep(pause)
            pause = min(max(2 * pause, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
            begun = loop.time()
            try:
                await self.start()
            except Failure:
                continue
            _log.info("worker_replaced", worker=self._number)

    async def stop(self, seconds: float) -> None:
        """Pass SIGTERM on and wait for the end; what has not ended in time is killed."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(seconds):
                await process.wait()
        except TimeoutError:
            _log.warning("worker_killed", worker=self._number)
            await self.kill()

    async def kill(self) -> None:
        """End the process at once, if there is one."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
