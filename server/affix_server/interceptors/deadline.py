"""Ends every call by its deadline: the caller's, or the longest an operation may take, whichever is nearer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec

from affix_server.calls import Behavior, CallContext, Method, StreamBehavior
from affix_server.errors import DeadlineExceededError

# How much later than its time a call may end, and how long a time is not cut shorter by that.
_SWEEP_SECONDS, _COARSE_FROM_SECONDS = 0.05, 1.0


class Deadline(msgspec.Struct, eq=False):
    """When a call has to end, and the task it runs in."""

    task: asyncio.Task[Any]
    end: float
    cancelling: int
    expired: bool = False

    def raise_if_over(self) -> None:
        """Raise DeadlineExceededError if this is why the call was cancelled, and nobody else wants it to end."""
        # As asyncio.timeout has it: cancelled by us, and by nobody else.
        if self.expired and self.task.uncancel() <= self.cancelling:
            raise DeadlineExceededError from None


class Deadlines:
    """Those of all calls: one look at them now and then cancels what is over; a timer for each call costs more."""

    def __init__(self, longest_seconds: float) -> None:
        """Let no call take longer than this, whatever its caller says. Needs the running loop."""
        self._longest = longest_seconds
        self._loop = asyncio.get_running_loop()
        self._running: set[Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, context: CallContext) -> Deadline | None:
        """Watch over a call until `end`; a moment late it is over. None if that is too late: it needs `exactly`."""
        loop, seconds = self._loop, self._seconds(context)
        task = asyncio.current_task(loop)
        if task is None or seconds < _COARSE_FROM_SECONDS:
            return None
        deadline = Deadline(task, loop.time() + seconds, task.cancelling())
        self._running.add(deadline)
        if self._timer is None:
            self._timer = loop.call_later(_SWEEP_SECONDS, self._look)
        return deadline

    def end(self, deadline: Deadline) -> None:
        """Watch no longer: the call has ended."""
        self._running.discard(deadline)

    async def exactly(self, behavior: Behavior, request: Any, context: CallContext) -> Any:
        """Do the call within its time, by a timer of its own."""
        try:
            async with asyncio.timeout(self._seconds(context)):
                return await behavior(request, context)
        except TimeoutError:
            raise DeadlineExceededError from None

    def _seconds(self, context: CallContext) -> float:
        left = context.time_remaining()
        return self._longest if left is None or left > self._longest else left

    def _look(self) -> None:
        now = self._loop.time()
        for deadline in self._running:
            if deadline.end <= now and not deadline.expired:
                deadline.expired = True
                deadline.task.cancel()
        self._timer = self._loop.call_later(_SWEEP_SECONDS, self._look) if self._running else None


def bound_stream(_method: Method, behavior: StreamBehavior) -> StreamBehavior:
    """End a stream by its caller's own deadline, with DEADLINE_EXCEEDED; without one it may last for ever."""

    async def bounded(request: Any, context: CallContext) -> AsyncGenerator[Any]:
        left = context.time_remaining()
        end = None if left is None else asyncio.get_running_loop().time() + left
        async with aclosing(behavior(request, context)) as responses:
            while True:
                try:
                    async with asyncio.timeout_at(end):
                        response = await anext(responses)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    raise DeadlineExceededError from None
                yield response

    return bounded
