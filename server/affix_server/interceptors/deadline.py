"""Ends every call by its deadline: the caller's, or the longest an operation may take, whichever is nearer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from affix_server.calls import Behavior, CallContext, Interceptor, Method, StreamBehavior
from affix_server.errors import DeadlineExceededError

# How much later than its time a call may end, and how long a time is not cut shorter by that.
_SWEEP_SECONDS, _COARSE_FROM_SECONDS = 0.05, 1.0


class _Call:
    """A call that is running, the task it runs in, and when it has to end."""

    __slots__ = ("cancelling", "end", "expired", "task")

    def __init__(self, task: asyncio.Task[Any], end: float) -> None:
        self.task = task
        self.end = end
        self.expired = False
        self.cancelling = task.cancelling()


class _Sweep:
    """Cancels calls whose time is over: one look at all of them now and then, not a timer each, which costs more."""

    def __init__(self) -> None:
        self._running: set[_Call] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, task: asyncio.Task[Any], seconds: float) -> _Call:
        loop = task.get_loop()
        call = _Call(task, loop.time() + seconds)
        self._running.add(call)
        if self._timer is None:
            self._timer = loop.call_later(_SWEEP_SECONDS, self._look, loop)
        return call

    def end(self, call: _Call) -> None:
        self._running.discard(call)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for call in self._running:
            if call.end <= now and not call.expired:
                call.expired = True
                call.task.cancel()
        self._timer = loop.call_later(_SWEEP_SECONDS, self._look, loop) if self._running else None


def bound_time(longest_seconds: float) -> Interceptor:
    """Make the interceptor; a call that is still running then ends with DEADLINE_EXCEEDED, a moment later at most."""
    sweep = _Sweep()

    def intercept(_method: Method, behavior: Behavior) -> Behavior:
        async def bounded(request: Any, context: CallContext) -> Any:
            left = context.time_remaining()
            seconds = longest_seconds if left is None else min(left, longest_seconds)
            task = asyncio.current_task()
            if task is None or seconds < _COARSE_FROM_SECONDS:
                return await _bounded_exactly(behavior, request, context, seconds)
            call = sweep.begin(task, seconds)
            try:
                return await behavior(request, context)
            except asyncio.CancelledError:
                # As asyncio.timeout has it: cancelled by us, and by nobody else.
                if call.expired and task.uncancel() <= call.cancelling:
                    raise DeadlineExceededError from None
                raise
            finally:
                sweep.end(call)

        return bounded

    return intercept


async def _bounded_exactly(behavior: Behavior, request: Any, context: CallContext, seconds: float) -> Any:
    try:
        async with asyncio.timeout(seconds):
            return await behavior(request, context)
    except TimeoutError:
        raise DeadlineExceededError from None


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
