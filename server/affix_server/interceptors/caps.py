"""How much is done at the same time: calls, watches, answers that wait to be taken.

One more is refused with LimitExceededError, and nothing of it is done. These hold for one process, over both wires.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from affix_server.calls import Behavior, CallContext, Method, StreamBehavior
from affix_server.errors import LimitExceededError
from affix_server.interceptors.rate_limit import caller

# A smaller answer is not counted: with as many as there may be streams, they are no danger.
_LARGE_BYTES = 64 * 1024


class CallCap:
    """At most so many calls at the same time; streams are not counted."""

    def __init__(self, limit: int) -> None:
        """Make the interceptor `cap`."""
        self._limit = limit
        self._running = 0

    def cap(self, _method: Method, behavior: Behavior) -> Behavior:
        """Refuse a call too many."""

        async def capped(request: Any, context: CallContext) -> Any:
            if self._running >= self._limit:
                raise LimitExceededError("calls at the same time", self._limit, self._running + 1)
            self._running += 1
            try:
                return await behavior(request, context)
            finally:
                self._running -= 1

        return capped


class WatcherCap:
    """At most so many streams at the same time, of all callers and of each."""

    def __init__(self, limit: int, per_caller: int, *, name_of: Callable[[CallContext], str] = caller) -> None:
        """Make the interceptor `cap`; `name_of` says who calls."""
        self._limit = limit
        self._per_caller = per_caller
        self._name_of = name_of
        self._running = 0
        self._of_caller: Counter[str] = Counter()

    def cap(self, _method: Method, behavior: StreamBehavior) -> StreamBehavior:
        """Refuse a stream too many."""

        async def capped(request: Any, context: CallContext) -> AsyncGenerator[Any]:
            name = self._name_of(context)
            if self._of_caller[name] >= self._per_caller:
                raise LimitExceededError("watches of one caller", self._per_caller, self._of_caller[name] + 1)
            if self._running >= self._limit:
                raise LimitExceededError("watches at the same time", self._limit, self._running + 1)
            self._running += 1
            self._of_caller[name] += 1
            try:
                async with aclosing(behavior(request, context)) as responses:
                    async for response in responses:
                        yield response
            finally:
                self._running -= 1
                self._of_caller[name] -= 1
                if not self._of_caller[name]:
                    del self._of_caller[name]

        return capped


class UnsentCap:
    """At most so many bytes of large answers that clients of the gRPC port have not taken yet.

    An answer that is not taken in time is given up, and its call with it.
    """

    def __init__(self, limit: int, longest_seconds: float) -> None:
        """Make the interceptor `cap`."""
        self._limit = limit
        self._longest_seconds = longest_seconds
        self._unsent = 0

    def cap(self, _method: Method, behavior: Behavior) -> Behavior:
        """Refuse an answer too many."""

        async def capped(request: Any, context: CallContext) -> Any:
            response = await behavior(request, context)
            add_done_callback = getattr(context, "add_done_callback", None)
            # Within the process nothing is sent: there HTTP's own port looks after it.
            if add_done_callback is None or (size := response.ByteSize()) <= _LARGE_BYTES:
                return response
            if self._unsent + size > self._limit:
                raise LimitExceededError("bytes of answers that wait to be taken", self._limit, self._unsent + size)
            self._unsent += size
            sending = asyncio.current_task()
            giving_up = asyncio.get_running_loop().call_later(self._longest_seconds, sending.cancel if sending else _no)

            def done(_context: object) -> None:
                self._unsent -= size
                giving_up.cancel()

            add_done_callback(done)
            return response

        return capped


def _no() -> None:
    """Do nothing: there is no task, and so nothing to cancel."""
