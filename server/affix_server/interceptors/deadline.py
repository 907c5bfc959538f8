"""Ends every call by its deadline: the caller's, or the longest an operation may take, whichever is nearer."""

from __future__ import annotations

import asyncio
from typing import Any

from affix_server.calls import Behavior, CallContext, Interceptor, Method
from affix_server.errors import DeadlineExceededError


def bound_time(longest_seconds: float) -> Interceptor:
    """Make the interceptor; a call that is still running then ends with DEADLINE_EXCEEDED."""

    def intercept(_method: Method, behavior: Behavior) -> Behavior:
        async def bounded(request: Any, context: CallContext) -> Any:
            left = context.time_remaining()
            try:
                async with asyncio.timeout(longest_seconds if left is None else min(left, longest_seconds)):
                    return await behavior(request, context)
            except TimeoutError:
                raise DeadlineExceededError from None

        return bounded

    return intercept
