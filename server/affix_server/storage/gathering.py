"""Doing at once what comes within one tick of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, Generic, TypeVar

from affix_server.storage.ongoing import Ongoing

T = TypeVar("T")


class Gathering(Generic[T]):
    """Begins work once a tick, for all that has come in it."""

    def __init__(self, work: Callable[[list[T]], Coroutine[Any, Any, None]], ongoing: Ongoing) -> None:
        """Have `ongoing` run the work, in the context in which this is made: it is nobody's call."""
        self._work = work
        self._ongoing = ongoing
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._come: list[T] = []

    def add(self, one: T) -> None:
        """Take something along the next time."""
        if not self._come:
            self._loop.call_soon(self._begin, context=self._context)
        self._come.append(one)

    def _begin(self) -> None:
        come, self._come = self._come, []
        self._ongoing.start(self._work(come))
