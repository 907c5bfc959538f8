"""Several workers that play cases at the same time."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

_COUNT = 4


class Verdicts:
    """What comes of cases; each is known when a worker has played it."""

    def __init__(self, names: Iterable[str]) -> None:
        """Have cases played in this order."""
        self._left = deque(dict.fromkeys(names))
        loop = asyncio.get_running_loop()
        self._flaws: dict[str, asyncio.Future[str | None]] = {name: loop.create_future() for name in self._left}

    async def flaw(self, name: str) -> str | None:
        """Wait until a case has been played; return what was not as it should be."""
        return await self._flaws[name]

    def stop(self) -> None:
        """Have nothing more played than what is being played."""
        self._left.clear()

    async def work(self, log: Path) -> None:
        """Have one worker play what is left, and another when that one ends by itself."""
        while self._left:
            with log.open("ab") as out:
                worker = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "tests.resilience.worker"),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=out,
                    cwd=Path(__file__).parents[2],
                )
            try:
                await self._play(worker, log)
            finally:
                assert worker.stdin is not None
                worker.stdin.close()  # so that it stops its stores, and ends
                await worker.wait()

    async def _play(self, worker: asyncio.subprocess.Process, log: Path) -> None:
        assert worker.stdin is not None
        assert worker.stdout is not None
        while self._left:
            name = self._left.popleft()
            worker.stdin.write(f"{name}\n".encode())
            if not (answer := await worker.stdout.readline()):
                self._flaws[name].set_result(f"the worker ended; its log is {log}")
                return
            self._flaws[name].set_result(json.loads(answer))


@asynccontextmanager
async def working(names: Iterable[str], folder: Path) -> AsyncIterator[Verdicts]:
    """Have cases played while the block runs."""
    verdicts = Verdicts(names)
    tasks = [asyncio.create_task(verdicts.work(folder / f"worker{number}.log")) for number in range(_COUNT)]
    try:
        yield verdicts
    finally:
        verdicts.stop()
        await asyncio.gather(*tasks)
