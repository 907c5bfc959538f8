"""Ends every call by its deadline: the caller's, or the longest an operation may take, whichever is nearer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from affix_server.calls import Behavior, CallContext, Interceptor, Method, StreamBehavior
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
