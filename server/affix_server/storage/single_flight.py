"""Single flight: however many callers wait for the same thing, it is fetched once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

V = TypeVar("V")


class SingleFlight(Generic[V]):
    """Shares one piece of work among all who ask for it while it is under way."""

    def __init__(self) -> None:
        """Begin with nothing under way."""
        self._flying: dict[Hashable, asyncio.Task[V]] = {}
        self._departed: dict[Hashable, asyncio.Task[V]] = {}

    async def run(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """Return what the work under way for this key returns, or raise what it raises; begin it if there is none.

        A caller that is cancelled leaves the work to the others.
        """
        task = self._flying.get(key)
        if task is None:
            task = asyncio.create_task(work())
            self._flying[key] = task
            task.add_done_callback(lambda done: self._land(key, done))
        return await asyncio.shield(task)

    def depart(self, key: Hashable) -> None:
        """Take nobody else aboard: what is read from now on may be older than a later caller's question."""
        task = self._flying.pop(key, None)
        if task is not None:
            self._departed[key] = task

    async def landed(self, key: Hashable) -> bool:
        """Wait for work that has departed, if there is any; tells whether there was."""
        task = self._departed.get(key)
        if task is None:
            return False
        await asyncio.wait((task,))
        return True

    def forget(self, key: Hashable) -> None:
        """Let the next caller begin anew: what is under way may have read what is now out of date."""
        self._flying.pop(key, None)

    def _land(self, key: Hashable, task: asyncio.Task[V]) -> None:
        for flights in (self._flying, self._departed):
            if flights.get(key) is task:
                del flights[key]
        if not task.cancelled():
            task.exception()  # everyone who waited may have gone; that is no unhandled fault
