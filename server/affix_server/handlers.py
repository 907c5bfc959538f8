"""Method handlers, made from the descriptors: no method is listed twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import grpc
from google.protobuf.message_factory import GetMessageClass

from affix_server.calls import Behavior, Interceptor, Method
from affix_server.interceptors.decoding import tolerant_deserializer

# In quotes, because it is generic in the stubs only.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


def method_handlers(descriptor: Any, servicer: object, interceptors: Sequence[Interceptor]) -> dict[str, Handler]:
    """Return a handler a method, by name: the servicer's, with the interceptors around it, first outermost.

    `descriptor` is a service's, as the generated modules hold it. Nothing is
    wrapped around a streaming method; only grpc.health.v1 has one.
    """
    handlers: dict[str, Handler] = {}
    for method in descriptor.methods:
        behavior = getattr(servicer, method.name)
        deserializer = tolerant_deserializer(GetMessageClass(method.input_type))
        serializer = GetMessageClass(method.output_type).SerializeToString
        if method.server_streaming:
            handlers[method.name] = grpc.unary_stream_rpc_method_handler(
                behavior, GetMessageClass(method.input_type).FromString, serializer
            )
        else:
            wrapped = _wrap(Method(descriptor.full_name, method.name), behavior, interceptors)
            handlers[method.name] = grpc.unary_unary_rpc_method_handler(wrapped, deserializer, serializer)
    return handlers


def _wrap(method: Method, behavior: Behavior, interceptors: Sequence[Interceptor]) -> Behavior:
    for interceptor in reversed(interceptors):
        behavior = interceptor(method, behavior)
    return behavior
