"""A span around each call, outermost; built in only where traces are wanted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import grpc

from affix_server.calls import Behavior, CallContext, Method, StreamBehavior
from affix_server.handlers import Interceptors
from affix_server.tracing import Spans


def traced(interceptors: Interceptors, spans: Spans) -> Interceptors:
    """Return the interceptors with spans around them."""

    def calls(method: Method, behavior: Behavior) -> Behavior:
        async def spanned(request: Any, context: CallContext) -> Any:
            metadata = context.invocation_metadata() or ()
            with spans.serve(method.service, method.name, metadata, stream=False) as end, _told(end, context):
                return await behavior(request, context)

        return spanned

    def streams(method: Method, behavior: StreamBehavior) -> StreamBehavior:
        async def spanned(request: Any, context: CallContext) -> AsyncGenerator[Any]:
            metadata = context.invocation_metadata() or ()
            with spans.serve(method.service, method.name, metadata, stream=True) as end, _told(end, context):
                async with aclosing(behavior(request, context)) as responses:
                    async for response in responses:
                        yield response

        return spanned

    return Interceptors((calls, *interceptors.calls), (streams, *interceptors.streams), interceptors.opening)


@contextmanager
def _told(end: Callable[[str], None], context: CallContext) -> Iterator[None]:
    """Tell the span how the call ended, if not well."""
    try:
        yield
    except (asyncio.CancelledError, GeneratorExit):
        end("CANCELLED")
        raise
    except (grpc.aio.AbortError, grpc.aio.AioRpcError):
        code = context.code()
        end(next(known.name for known in grpc.StatusCode if code in {known, known.value[0]}))
        raise
