"""How much is done at the same time: calls, watches, answers that wait to be taken.

One more is refused with LimitExceededError, and nothing of it is done. These hold for one process, over both wires.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from affix_server.calls import CallContext, Method, StreamBehavior, serialized
from affix_server.errors import LimitExceededError
from affix_server.interceptors.rate_limit import caller

# A smaller answer is not counted: with as many as there may be streams, they are no danger.
_LARGE_BYTES = 64 * 1024


class CallCap:
    """At most so many calls at the same time; streams are not counted."""

    __slots__ = ("_limit", "_running")

    def __init__(self, limit: int) -> None:
        """Let so many in."""
        self._limit = limit
        self._running = 0

    def enter(self) -> None:
        """Let a call in, which must `leave`. Raises LimitExceededError for one too many, which must not."""
        if self._running >= self._limit:
            raise LimitExceededError("calls at the same time", self._limit, self._running + 1)
        self._running += 1

    def leave(self) -> None:
        """Make room for another."""
        self._running -= 1


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

    __slots__ = ("_limit", "_longest_seconds", "_unsent")

    def __init__(self, limit: int, longest_seconds: float) -> None:
        """Bound them so."""
        self._limit = limit
        self._longest_seconds = longest_seconds
        self._unsent = 0

    def sent(self, response: Any, context: CallContext) -> Any:
        """Return an answer as it leaves: over the network its bytes, since how many they are is known only then.

        Raises LimitExceededError for an answer too many.
        """
        add_done_callback = getattr(context, "add_done_callback", None)
        if add_done_callback is None:
            return response  # Within the process nothing is sent: there HTTP's own port looks after it.
        data = serialized(response)
        if len(data) > _LARGE_BYTES:
            self._wait(len(data), add_done_callback)
        return data

    def _wait(self, size: int, add_done_callback: Callable[[Callable[[object], None]], None]) -> None:
        """Count an answer until its call is over, which it is in time."""
        if self._unsent + size > self._limit:
            raise LimitExceededError("bytes of answers that wait to be taken", self._limit, self._unsent + size)
        self._unsent += size
        sending = asyncio.current_task()
        giving_up = asyncio.get_running_loop().call_later(self._longest_seconds, sending.cancel if sending else _no)

        def done(_context: object) -> None:
            self._unsent -= size
            giving_up.cancel()

        add_done_callback(done)


def _no() -> None:
    """Do nothing: there is no task, and so nothing to cancel."""
