"""Work that runs to its end although whoever asked for it has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

V = TypeVar("V")


class Ongoing:
    """Runs coroutines that a caller's cancellation must not cut short."""

    def __init__(self) -> None:
        """Begin with nothing under way."""
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, V]) -> V:
        """Return what the work returns, or raise what it raises; if cancelled, leave it to end by itself."""
        return await asyncio.shield(self.start(work))

    def start(self, work: Coroutine[Any, Any, V]) -> asyncio.Task[V]:
        """Begin work for which nobody need wait."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def join(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited may have gone; that is no unhandled fault
