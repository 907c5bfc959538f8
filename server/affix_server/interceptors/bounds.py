"""What bounds a call: how many there are, how long each takes, how much of their answers waits to be taken."""

from __future__ import annotations

import asyncio
from typing import Any

from affix_server.calls import Behavior, CallContext, Method
from affix_server.interceptors.caps import CallCap, UnsentCap
from affix_server.interceptors.deadline import Deadlines


class Bounds:
    """The interceptor of calls that answer once: one coroutine for all three, since each costs every call.

    It raises LimitExceededError and DeadlineExceededError.
    """

    def __init__(self, cap: CallCap, deadlines: Deadlines, unsent: UnsentCap) -> None:
        """Bound calls by these."""
        self._cap = cap
        self._deadlines = deadlines
        self._unsent = unsent

    def calls(self, _method: Method, behavior: Behavior) -> Behavior:
        """Wrap a method; over the network it answers with bytes."""
        cap, deadlines, unsent = self._cap, self._deadlines, self._unsent

        async def bounded(request: Any, context: CallContext) -> Any:
            cap.enter()
            try:
                deadline = deadlines.begin(context)
                if deadline is None:
                    response = await deadlines.exactly(behavior, request, context)
                else:
                    try:
                        response = await behavior(request, context)
                    except asyncio.CancelledError:
                        deadline.raise_if_over()
                        raise
                    finally:
                        deadlines.end(deadline)
                return unsent.sent(response, context)
            finally:
                cap.leave()

        return bounded
