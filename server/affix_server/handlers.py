"""Method handlers, made from the descriptors: no method is listed twice."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from google.protobuf.message_factory import GetMessageClass

from affix_server.calls import Behavior, CallContext, Interceptor, Method, StreamBehavior, StreamInterceptor, serialized
from affix_server.interceptors.decoding import tolerant_deserializer

# In quotes, because it is generic in the stubs only.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


@dataclass(frozen=True, slots=True)
class Interceptors:
    """What is around the methods of a service, first outermost.

    A method that answers with a stream has `streams` around all of it, and `opening`
    around its beginning: what is done there is done before anything is streamed.
    """

    calls: Sequence[Interceptor] = ()
    streams: Sequence[StreamInterceptor] = ()
    opening: Sequence[Interceptor] = ()


def method_handlers(descriptor: Any, servicer: object, interceptors: Interceptors) -> dict[str, Handler]:
    """Return a handler a method, by name: the servicer's, with the interceptors around it.

    `descriptor` is a service's, as the generated modules hold it.
    """
    handlers: dict[str, Handler] = {}
    for described in descriptor.methods:
        method = Method(descriptor.full_name, described.name)
        behavior = getattr(servicer, method.name)
        deserializer = tolerant_deserializer(GetMessageClass(described.input_type))
        if described.server_streaming:
            stream = _stream(method, behavior, interceptors)
            handlers[method.name] = grpc.unary_stream_rpc_method_handler(stream, deserializer, serialized)
        else:
            wrapped = _wrap(method, behavior, interceptors.calls)
            handlers[method.name] = grpc.unary_unary_rpc_method_handler(wrapped, deserializer, serialized)
    return handlers


def _wrap(method: Method, behavior: Behavior, interceptors: Sequence[Interceptor]) -> Behavior:
    for interceptor in reversed(interceptors):
        behavior = interceptor(method, behavior)
    return behavior


def _stream(method: Method, behavior: StreamBehavior, interceptors: Interceptors) -> StreamBehavior:
    async def begin(request: Any, context: CallContext) -> AsyncGenerator[Any]:
        return behavior(request, context)

    opened = _wrap(method, begin, interceptors.opening)

    async def stream(request: Any, context: CallContext) -> AsyncGenerator[Any]:
        async with aclosing(await opened(request, context)) as responses:
            async for response in responses:
                yield response

    whole: StreamBehavior = stream
    for interceptor in reversed(interceptors.streams):
        whole = interceptor(method, whole)
    return whole
