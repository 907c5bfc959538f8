"""Server reflection, under both of its names.

grpcio-reflection speaks v1alpha only; v1 has the same messages under another
package, so the same servicer serves both: grpcurl asks for v1alpha, `buf curl` for v1.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

from affix_server.auth.principals import Credentials, bearer_token
from affix_server.calls import CallContext
from affix_server.errors import UnauthenticatedError
from affix_server.status import wire_error

NAMES = ("grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection")


def add_reflection(server: grpc.aio.Server, services: Sequence[str], credentials: Credentials | None) -> None:
    """Let clients discover services by name; with `credentials` only those that are known by them."""
    servicer = ReflectionServicer((*services, *NAMES[:1]))
    answer = servicer.ServerReflectionInfo if credentials is None else _known_only(servicer, credentials)
    handler = grpc.stream_stream_rpc_method_handler(
        answer,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for name in NAMES:
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler}),)
        )


def _known_only(servicer: Any, credentials: Credentials) -> Any:
    async def answer(requests: AsyncIterator[Any], context: CallContext) -> AsyncGenerator[Any]:
        try:
            credentials.principal(bearer_token(context.invocation_metadata()))
        except UnauthenticatedError as refused:
            error = wire_error(refused, "ServerReflectionInfo", None)
            await context.abort(error.code, error.message, error.trailers())
        async for response in servicer.ServerReflectionInfo(requests, context):
            yield response

    return answer
